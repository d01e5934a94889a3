"""/dev: the default devices, the spec's own, and the links that programs expect (config-linux.md "Default Devices")."""

from __future__ import annotations

from pyrt.base.errors import InvalidSpec
from pyrt.model import oci
from pyrt.runtime.plan import constants as k
from pyrt.runtime.plan import ops
from pyrt.runtime.plan.build import Build, inside
from pyrt.runtime.plan.mount_options import parse

__all__ = ["compile_console", "compile_devices"]

_DEFAULT = (
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
)
_LINKS = (
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
)
_TYPES = {"c": k.S_IFCHR, "u": k.S_IFCHR, "b": k.S_IFBLK, "p": k.S_IFIFO}


def compile_devices(build: Build) -> None:
    """Nodes and links; nothing when the host's /dev is bound, which is to stay as it is."""
    if _bound(build.spec.mounts):
        return
    own = {inside(device.path): (index, device) for index, device in enumerate(build.linux.devices)}
    for path, major, minor in _DEFAULT:
        if path not in own:
            build.after.append(ops.device(path, k.S_IFCHR | 0o666, major, minor, 0, 0, path, "default"))
    for path, (index, device) in own.items():
        build.after.append(_node(path, device, build.why(f"linux.devices[{index}]")))
    for text, link in _LINKS:
        build.after.append(ops.symlink(text, link, "default"))
    if build.facts.kcore:
        build.after.append(ops.symlink("/proc/kcore", "/dev/core", "default"))
    if "/dev/ptmx" not in own:
        build.after.append(ops.symlink("pts/ptmx", "/dev/ptmx", "default"))


def _bound(mounts: tuple[oci.Mount, ...]) -> bool:
    return any(inside(mount.destination) == "/dev" and (mount.type == "bind" or parse(mount.options).is_bind) for mount in mounts)


def _node(path: str, device: oci.LinuxDevice, why: str) -> ops.Op:
    kind = _TYPES.get(device.type)
    if kind is None:
        raise InvalidSpec(f"{device.type!r} is none of c, b, u and p", f"linux.devices of {path}")
    mode = kind | (0o666 if device.file_mode is None else device.file_mode & 0o7777)
    return ops.device(path, mode, max(device.major, 0), max(device.minor, 0), device.uid or 0, device.gid or 0, device.path, why)


def compile_console(build: Build, process: oci.Process, *, new: bool) -> None:
    """The process's terminal; for a ``new`` container also on /dev/console."""
    opt = build.opt
    if not process.terminal:
        return
    slot = opt.console_slot
    if slot is None and opt.console_socket:
        slot = build.new_slot()
        build.before.append(ops.connect(opt.console_socket, slot, "--console-socket"))
    if slot is None:
        raise InvalidSpec("a terminal is asked for, but there is nobody to get it: a console socket is missing", "process.terminal")
    rows, cols = opt.tty_size
    size = process.console_size
    if size is not None:
        rows, cols = size.height, size.width
    rows, cols = min(rows, 0xFFFF), min(cols, 0xFFFF)
    why = build.why("process.terminal")
    build.after.append(ops.console(slot, rows, cols, process.user.uid, why, bind_console=new))


def compile_hidden(build: Build) -> None:
    """Masked and read-only paths."""
    for index, path in enumerate(build.linux.readonly_paths):
        build.after.append(ops.readonly(inside(path), build.why(f"linux.readonlyPaths[{index}]")))
    for index, path in enumerate(build.linux.masked_paths):
        build.after.append(ops.mask(inside(path), build.why(f"linux.maskedPaths[{index}]")))

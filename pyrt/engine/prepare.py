"""From a request to a plan that can be launched, with a cache: an equal request on an unchanged machine compiles nothing.

A plan is compiled once for a made-up container id and patched for each run: the id has a fixed width and occurs
nowhere else, so replacing its bytes is all there is to do.
"""

from __future__ import annotations

import os
import stat
import threading
from collections import OrderedDict

from msgspec import Struct
from msgspec.structs import replace

from pyrt import native
from pyrt.base import paths
from pyrt.base.errors import errno_words
from pyrt.base.ids import SHORT_ID_LENGTH, new_id
from pyrt.engine.here import surroundings
from pyrt.engine.images import ResolvedImage, resolve_image
from pyrt.model import oci
from pyrt.model.run import RunRequest
from pyrt.native import seccomp
from pyrt.runtime.cgroup.layout import ephemeral_path
from pyrt.runtime.host import host_facts
from pyrt.runtime.overlay_root import OverlayRoot, RootFile
from pyrt.runtime.plan.compile import CompileOptions, compile_create
from pyrt.runtime.plan.encode import encode
from pyrt.runtime.plan.ops import Plan
from pyrt.runtime.spec.from_request import Built, Surroundings, build_spec

__all__ = ["Prepared", "prepare"]

CACHE_SIZE = 128


class Prepared(Struct, frozen=True):
    """A compiled request. ``template`` is the encoded plan for the container id ``placeholder``."""

    plan: Plan
    template: bytes
    placeholder: str
    spec: oci.Spec
    device_program: bytes = b""

    def encoded(self, container_id: str) -> bytes:
        """The plan's bytes for one container."""
        old, new = self.placeholder.encode(), container_id.encode()
        data = self.template.replace(old, new)
        return data.replace(old[:SHORT_ID_LENGTH], new[:SHORT_ID_LENGTH])

    def named(self, text: str, container_id: str) -> str:
        """A text about the plan with the container's own id in it."""
        old = self.placeholder
        return text.replace(old, container_id).replace(old[:SHORT_ID_LENGTH], container_id[:SHORT_ID_LENGTH])


_cache: OrderedDict[tuple[object, ...], Prepared] = OrderedDict()
_lock = threading.Lock()


def prepare(req: RunRequest, *, tty_size: tuple[int, int] = (0, 0)) -> Prepared:
    """The plan for ``req`` on the machine as it is now. ``tty_size``: (rows, columns) of the terminal that `-t` makes.

    Raises InvalidRequest, NotFound, Unsupported with one line; changes nothing but bind sources that `-v` has to make.
    """
    image = resolve_image(req)
    key = (req, image, tty_size, paths.run_dir(), os.geteuid(), *_stamps(req))
    found = _cache.get(key)
    if found is not None and all(mount.type != "bind" or os.path.lexists(mount.source) for mount in req.mounts):
        return found
    made = _compile(req, image, tty_size)
    with _lock:
        _cache[key] = made
        while len(_cache) > CACHE_SIZE:
            _cache.popitem(last=False)
    return made


def forget() -> None:
    """Empties the cache, as after a fork: plans name their owner's process."""
    global _lock
    _cache.clear()
    _lock = threading.Lock()


os.register_at_fork(after_in_child=forget)


def _stamps(req: RunRequest) -> tuple[object, ...]:
    """What else of the machine shapes the plan of this request: the host's names, device nodes."""
    found: list[object] = []
    if req.network == "host" or req.uts == "host":
        found += [os.uname().nodename, _stamp("/etc/resolv.conf"), _stamp("/etc/hosts")]
    if req.privileged:
        found.append(_stamp("/dev"))
    found += [_stamp(device.source) for device in req.devices]
    return tuple(found)


def _stamp(path: str) -> tuple[int, int, int, int] | None:
    try:
        info = os.stat(path)
    except OSError:
        return None
    return info.st_mtime_ns, info.st_ino, info.st_rdev, info.st_mode


def _compile(req: RunRequest, image: ResolvedImage, tty_size: tuple[int, int]) -> Prepared:
    placeholder = new_id()
    here = _with_cgroup_mount(surroundings(), req)
    built = build_spec(req, container_id=placeholder, image_root=image.root, image=image.config, here=here, hidden=image.hidden)
    overlay = OverlayRoot(
        lower=() if image.split else (image.root,),
        extra=image.layers,
        files=_root_files(req, image, built),
        userxattr=built.userns or host_facts().in_userns,
        detach=built.userns and not host_facts().rootless,
    )
    plan = compile_create(built.spec, host_facts(), _options(req, placeholder, built, overlay, tty_size))
    return Prepared(plan, encode(plan), placeholder, built.spec, _device_program(plan))


def _device_program(plan: Plan) -> bytes:
    """What the plan attaches to the container's cgroup, to be loaded once for all runs; b"" for nothing."""
    for op in plan.ops:
        if op.code == native.OP_CGROUP_DEVICES and isinstance(op.s[1], bytes):
            return op.s[1]
    return b""


def _with_cgroup_mount(here: Surroundings, req: RunRequest) -> Surroundings:
    """A container sees its cgroup on v2, one mount. On v1 that is a mount for each controller, so only where there is
    something to see: limits, or the right to change them."""
    limited = (req.memory, req.nano_cpus, req.cpu_shares, req.cpuset_cpus, req.pids_limit, req.privileged)
    shown = host_facts().mode == "v2" or any(limited)
    return here if shown == here.cgroup_mount else replace(here, cgroup_mount=shown)


def _options(req: RunRequest, container_id: str, built: Built, overlay: OverlayRoot, tty_size: tuple[int, int]) -> CompileOptions:
    policy = built.spec.linux.seccomp if built.spec.linux else None
    return CompileOptions(
        id=container_id,
        run_dir=paths.run_dir(),
        cgroup_path=ephemeral_path(host_facts(), container_id),
        controllers="needed",
        overlay=overlay,
        console_slot=0 if req.tty else None,
        device_slot=1 if req.tty else 0,
        tty_size=tty_size,
        foreground=True,
        init=req.init,
        usage=True,
        seccomp_bpf=seccomp.compile_filter(policy) if policy else None,
        seccomp_flags=seccomp.filter_flags(policy) if policy else 0,
        origins=built.origins,
    )


# -- /etc/hosts and its friends --------------------------------------------------------------------------------------

_HOSTS = """127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
ff00::0\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
127.0.1.1\t{name}
"""


def _root_files(req: RunRequest, image: ResolvedImage, built: Built) -> tuple[RootFile, ...]:
    """The three files that docker makes for each container. With the host's network they are the host's own."""
    try:
        folder = os.lstat(os.path.join(image.root, "etc"))
    except OSError:
        mode, uid, gid = 0o755, 0, 0
    else:
        if not stat.S_ISDIR(folder.st_mode):
            return ()  # a link to elsewhere in the image: leave the image as it is
        mode, uid, gid = stat.S_IMODE(folder.st_mode), folder.st_uid, folder.st_gid
    contents = {"/etc/hostname": f"{built.hostname}\n".encode()}
    if req.network == "host":
        contents["/etc/hosts"] = _host_file("/etc/hosts")
        contents["/etc/resolv.conf"] = _host_file("/etc/resolv.conf")
    else:
        contents["/etc/hosts"] = _HOSTS.format(name=built.hostname).encode()
    taken = {mount.target for mount in req.mounts} | {tmpfs.target for tmpfs in req.tmpfs}
    return tuple(RootFile(path, data, 0o644, mode, uid, gid) for path, data in contents.items() if not taken & {path, "/etc"})


def _host_file(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20)
    except OSError as e:
        return f"# {path} of the host: {errno_words(e.errno or 0)}\n".encode()

"""`--device` and `--privileged`: device nodes and the rules that let a container use them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from pyrt.base.errors import InvalidRequest, errno_words
from pyrt.model import oci
from pyrt.model.run import Device, RunRequest
from pyrt.runtime.spec import defaults

__all__ = ["devices"]

# Made or mounted by the runtime itself, and so never taken from the host.
_OWN_TEXT = """
    pts shm mqueue fd stdin stdout stderr ptmx console core initctl .lxc .lxd-mounts .udev null zero full random urandom
    tty
"""
_OWN = frozenset(_OWN_TEXT.split())


def devices(
    req: RunRequest, *, userns: bool, origins: dict[str, str]
) -> tuple[tuple[oci.LinuxDevice, ...], tuple[oci.LinuxDeviceCgroup, ...]]:
    """The nodes to make and the rules of the device controller, in order."""
    if req.privileged and not userns:
        origins["linux.devices"] = origins["linux.resources.devices"] = "--privileged"
        nodes = {node.path: node for node in _tree("/dev", "/dev")}
        for device in req.devices:
            nodes.update((node.path, node) for node, _ in _requested(device))
        return tuple(nodes.values()), defaults.ALL_DEVICES
    nodes, rules = {}, list(defaults.DEVICE_RULES)
    for device in req.devices:
        for node, access in _requested(device):
            nodes[node.path] = node
            rules.append(oci.LinuxDeviceCgroup(allow=True, type=node.type, major=node.major, minor=node.minor, access=access))
    if req.devices:
        flags = " ".join(f"--device {device.source}" for device in req.devices)
        origins["linux.devices"] = origins["linux.resources.devices"] = flags
    return tuple(nodes.values()), tuple(rules)


def _requested(device: Device) -> Iterator[tuple[oci.LinuxDevice, str]]:
    source = os.path.realpath(device.source)
    what = f'error gathering device information while adding custom device "{device.source}"'
    try:
        info = os.stat(source)
    except OSError as e:
        raise InvalidRequest(f"{what}: {errno_words(e.errno or 0)}") from None
    if stat.S_ISDIR(info.st_mode):
        found = list(_tree(source, device.target))
        if not found:
            raise InvalidRequest(f"{what}: no device nodes in that directory")
        for node in found:
            yield node, device.access
        return
    made = _node(info, device.target)
    if made is None:
        raise InvalidRequest(f"{what}: not a device node")
    yield made, device.access


def _node(info: os.stat_result, target: str) -> oci.LinuxDevice | None:
    if not (stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode)):
        return None
    return oci.LinuxDevice(
        type="c" if stat.S_ISCHR(info.st_mode) else "b",
        path=target,
        major=os.major(info.st_rdev),
        minor=os.minor(info.st_rdev),
        file_mode=stat.S_IMODE(info.st_mode),
        uid=info.st_uid,
        gid=info.st_gid,
    )


def _tree(source: str, target: str) -> Iterator[oci.LinuxDevice]:
    try:
        entries = sorted(os.scandir(source), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if target == "/dev" and entry.name in _OWN:
            continue
        try:
            if entry.is_symlink():
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _tree(entry.path, f"{target}/{entry.name}")
                continue
            node = _node(entry.stat(follow_symlinks=False), f"{target}/{entry.name}")
        except OSError:
            continue  # gone in the meantime
        if node is not None:
            yield node

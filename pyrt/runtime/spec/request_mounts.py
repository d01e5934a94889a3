"""`-v`, `--mount`, `--tmpfs` and the mounts that every container gets, in the order in which they are made."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pyrt.base.errors import InvalidRequest, errno_words
from pyrt.base.units import format_size, parse_size
from pyrt.model import oci
from pyrt.model.image import ImageConfig
from pyrt.model.run import Mount, RunRequest, Tmpfs
from pyrt.runtime.spec import defaults

if TYPE_CHECKING:
    from pyrt.runtime.spec.from_request import Surroundings

__all__ = ["mounts"]

SHM_SIZE = 64 << 20

# tmpfs(5) and mount(8): what --tmpfs may say, beside key=value options.
_TMPFS_FLAGS_TEXT = """
    ro rw exec noexec suid nosuid dev nodev sync async dirsync mand nomand atime noatime diratime nodiratime relatime
    norelatime strictatime nostrictatime private rprivate shared rshared slave rslave unbindable runbindable huge noswap
"""
_TMPFS_FLAGS = frozenset(_TMPFS_FLAGS_TEXT.split())
_TMPFS_KEYS = frozenset(["mode", "uid", "gid", "nr_inodes", "nr_blocks", "size", "mpol", "huge"])
_OPPOSITES = {"noexec": "exec", "nosuid": "suid", "nodev": "dev"}


def mounts(req: RunRequest, image: ImageConfig, here: Surroundings, *, userns: bool, origins: dict[str, str]) -> tuple[oci.Mount, ...]:
    """The spec's list. What a user mounts replaces a default at the same place; the user's own go by depth."""
    chosen = _requested(req, origins)
    kept = [
        mount
        for mount in _defaults(req, image, here, userns, origins)
        if not any(mount.destination == path or mount.destination.startswith(path + "/") for path in chosen)
    ]
    ordered = (*kept, *sorted(chosen.values(), key=lambda mount: mount.destination.count("/")))
    for index, mount in enumerate(ordered):
        flag = origins.pop(f"mounts.{mount.destination}", "")
        if flag:
            origins[f"mounts[{index}]"] = flag
    return ordered


def _requested(req: RunRequest, origins: dict[str, str]) -> dict[str, oci.Mount]:
    found: dict[str, oci.Mount] = {}
    for tmpfs in req.tmpfs:
        _add(found, _tmpfs(tmpfs))
        origins[f"mounts.{tmpfs.target}"] = f"--tmpfs {tmpfs.target}"
    for mount in req.mounts:
        _add(found, _bind(mount) if mount.type == "bind" else _tmpfs_mount(mount))
        origins[f"mounts.{mount.target}"] = mount.flag or "mounts"
    return found


def _add(found: dict[str, oci.Mount], mount: oci.Mount) -> None:
    if mount.destination in found:
        raise InvalidRequest(f"Duplicate mount point: {mount.destination}")
    found[mount.destination] = mount


def _tmpfs(tmpfs: Tmpfs) -> oci.Mount:
    options = list[str]()
    for word in tmpfs.options:
        key, equals, value = word.partition("=")
        if equals and key in _TMPFS_KEYS:
            options.append(f"size={_tmpfs_size(value)}" if key == "size" else word)
        elif not equals and key in _TMPFS_FLAGS:
            options.append(word)
        else:
            raise InvalidRequest(f"invalid tmpfs option '{word}' for {tmpfs.target}")
    base = [word for word, opposite in _OPPOSITES.items() if opposite not in options and word not in options]
    return oci.Mount(destination=tmpfs.target, type="tmpfs", source="tmpfs", options=(*base, *options))


def _tmpfs_size(text: str) -> str:
    return text if text.endswith("%") and text[:-1].isdigit() else str(parse_size(text))


def _tmpfs_mount(mount: Mount) -> oci.Mount:
    options = [*_OPPOSITES, *mount.options]
    if mount.readonly:
        options.append("ro")
    if mount.size:
        options.append(f"size={mount.size}")
    if mount.mode is not None:
        options.append(f"mode={mount.mode:o}")
    return oci.Mount(destination=mount.target, type="tmpfs", source="tmpfs", options=tuple(options))


def _bind(mount: Mount) -> oci.Mount:
    try:
        os.lstat(mount.source)
    except FileNotFoundError:
        _make_source(mount)
    except OSError as e:
        raise InvalidRequest(f"{mount.flag or mount.source}: {errno_words(e.errno or 0)}") from None
    options = ["rbind" if mount.recursive else "bind", mount.propagation]
    if mount.readonly:
        options.append("rro" if mount.readonly_recursive else "ro")
    return oci.Mount(destination=mount.target, type="bind", source=mount.source, options=(*options, *mount.options))


def _make_source(mount: Mount) -> None:
    if not mount.create_source:
        raise InvalidRequest(f'invalid mount config for type "bind": bind source path does not exist: {mount.source}') from None
    try:
        os.makedirs(mount.source, exist_ok=True)
    except OSError as e:
        raise InvalidRequest(f"error while creating mount source path '{mount.source}': {errno_words(e.errno or 0)}") from None


def _defaults(req: RunRequest, image: ImageConfig, here: Surroundings, userns: bool, origins: dict[str, str]) -> list[oci.Mount]:
    shm = SHM_SIZE if not req.shm_size else req.shm_size
    found = [
        changed
        for mount in defaults.default_mounts(shm, cgroup=here.cgroup_mount)
        if (changed := _default(mount, req, here, userns)) is not None
    ]
    if req.shm_size:
        origins["mounts./dev/shm"] = f"--shm-size {format_size(req.shm_size)}"
    if req.ipc in ("host", "none"):
        origins["mounts./dev/shm"] = origins["mounts./dev/mqueue"] = f"--ipc {req.ipc}"
    if image.fresh_tmp:
        access = ("ro",) if req.read_only else ()
        found += [
            oci.Mount(destination="/run", type="tmpfs", source="tmpfs", options=("nosuid", "nodev", "mode=755", *access)),
            oci.Mount(destination="/tmp", type="tmpfs", source="tmpfs", options=("nosuid", "nodev", "mode=1777", *access)),
        ]
    return found


def _default(mount: oci.Mount, req: RunRequest, here: Surroundings, userns: bool) -> oci.Mount | None:
    """One of docker's default mounts as this request needs it; None: not at all."""
    where, options = mount.destination, mount.options
    if where == "/dev/mqueue" and req.ipc == "host" and not userns:
        return mount  # shows the queues of the namespace that it is mounted in
    if where in ("/dev/shm", "/dev/mqueue") and req.ipc == "host":
        if not os.path.isdir(where):
            return None
        return oci.Mount(destination=where, type="bind", source=where, options=("rbind", "nosuid", "noexec", "nodev"))
    if where == "/dev/shm" and req.ipc == "none":
        return None
    if where == "/dev/pts" and userns and not any(i <= 5 < i + size for i, _, size in here.gid_map):
        options = tuple(option for option in options if option != "gid=5")
    if where == "/sys" and userns and req.network == "host":
        # sysfs belongs to the network namespace's owner: only the host's own can be shown.
        return oci.Mount(destination="/sys", type="bind", source="/sys", options=("rbind", "nosuid", "noexec", "nodev", "ro"))
    if where in ("/sys", "/sys/fs/cgroup"):
        if where == "/sys/fs/cgroup" and userns and req.network == "host":
            return None  # came along with /sys
        if req.privileged:
            options = tuple(option for option in options if option != "ro")
    return oci.Mount(destination=where, type=mount.type, source=mount.source, options=options)

"""The `host` image: this machine's own root file system as the read-only bottom of a throw-away overlay.

An overlay does not see what is mounted below its lower directory, so every file system below / gets a layer of its own,
or is bound where it is read-only anyway. Fresh in each container, and so left out, are /proc, /sys, /dev, /run and
/tmp; left out too are kernel interfaces, pyrt's own folders, and the storage of other container engines, which is not
part of the machine's own system. The same overlay serves any other directory (`--rootfs`).
"""

from __future__ import annotations

import os
import select
import stat
import threading
from collections.abc import Iterable, Iterator

from msgspec import Struct

from pyrt.base.errors import NotFound, errno_words
from pyrt.base.paths import state_dirs
from pyrt.runtime.overlay_root import ExtraLayer

__all__ = [
    "FRESH",
    "HostMount",
    "MountTable",
    "extra_layers",
    "hidden_paths",
    "mount_table",
    "parse_mountinfo",
    "root_directory",
    "split_root",
]

FRESH = ("/proc", "/sys", "/dev", "/run", "/tmp")

_ENGINES = (
    "/var/lib/docker",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/kubelet",
    "/var/lib/lxcfs",
    "/var/lib/buildkit",
)

# File systems that show the kernel's own state: never part of an image.
_KERNEL_TYPES_TEXT = """
    proc sysfs devtmpfs devpts cgroup cgroup2 mqueue debugfs tracefs securityfs pstore bpf configfs fusectl hugetlbfs
    binfmt_misc efivarfs autofs rpc_pipefs nsfs selinuxfs nfsd resctrl
"""
_KERNEL_TYPES = frozenset(_KERNEL_TYPES_TEXT.split())


class HostMount(Struct, frozen=True):
    """One line of /proc/self/mountinfo (proc_pid_mountinfo(5)) that is not hidden by a later one."""

    path: str
    fstype: str
    readonly: bool


def _unescape(word: str) -> str:
    if "\\" not in word:
        return word
    raw = word.encode("utf-8", "surrogateescape")
    parts = raw.split(b"\\")
    out = parts[0] + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in parts[1:])
    return out.decode("utf-8", "surrogateescape")


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def parse_mountinfo(text: str) -> tuple[HostMount, ...]:
    """The visible mounts in the order of the list: a mount hides what was mounted at or below its place before."""
    seen: dict[str, HostMount] = {}
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        fields, tail = left.split(" "), right.split(" ")
        if len(fields) < 6 or len(tail) < 3:
            continue
        path = _unescape(fields[4])
        for old in [known for known in seen if _below(known, path)]:
            del seen[old]
        readonly = "ro" in fields[5].split(",") or "ro" in tail[2].split(",")
        seen[path] = HostMount(path, tail[0], readonly)
    return tuple(seen.values())


def extra_layers(mounts: Iterable[HostMount], root: str = "/", skip: Iterable[str] = FRESH) -> tuple[ExtraLayer, ...]:
    """What has to be layered or bound below ``root`` (a host path), parents first. ``skip`` are paths in the image."""
    skipped = [root.rstrip("/") + path for path in (*skip, *(_ENGINES if root == "/" else ()))]
    skipped += state_dirs()
    found: list[ExtraLayer] = []
    for mount in sorted(mounts, key=lambda m: m.path):
        if mount.path == root or not _below(mount.path, root) or mount.fstype in _KERNEL_TYPES:
            continue
        if any(_below(mount.path, folder) for folder in skipped):
            continue
        try:
            directory = stat.S_ISDIR(os.stat(mount.path).st_mode)
        except OSError:
            continue  # gone, or another user's FUSE mount, which root itself may not enter
        inside = mount.path if root == "/" else mount.path[len(root) :]
        found.append(ExtraLayer(mount.path, inside, "bind" if mount.readonly or not directory else "overlay"))
    return tuple(found)


class MountTable:
    """The machine's mounts, read once and again only after a change: the kernel reports one by POLLPRI on mountinfo.

    Safe with threads; `reset` after a fork, since the report goes to whoever asks first.
    """

    def __init__(self, path: str = "/proc/self/mountinfo") -> None:
        self._path = path
        self.reset()

    def reset(self) -> None:
        """Forgets everything, as after a fork or a change of the mount namespace."""
        self._lock = threading.Lock()
        self._fd = -1
        self._poll: select.poll | None = None
        self._mounts: tuple[HostMount, ...] = ()
        self._layers: dict[tuple[str, tuple[str, ...]], tuple[ExtraLayer, ...]] = {}

    def mounts(self) -> tuple[HostMount, ...]:
        """All visible mounts as they are now."""
        with self._lock:
            self._refresh()
            return self._mounts

    def layers(self, root: str = "/", skip: tuple[str, ...] = FRESH) -> tuple[ExtraLayer, ...]:
        """`extra_layers` of the machine as it is now. The same object as long as nothing has changed."""
        with self._lock:
            self._refresh()
            key = (root, skip)
            found = self._layers.get(key)
            if found is None:
                found = self._layers[key] = extra_layers(self._mounts, root, skip)
            return found

    def _refresh(self) -> None:
        if self._poll is not None and not self._poll.poll(0):
            return
        if self._poll is None:
            # Opened before it is read: a change in between is reported by the next poll.
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            self._poll = select.poll()
            self._poll.register(self._fd, select.POLLPRI)
        os.lseek(self._fd, 0, os.SEEK_SET)
        chunks = []
        while chunk := os.read(self._fd, 1 << 16):
            chunks.append(chunk)
        mounts = parse_mountinfo(b"".join(chunks).decode("utf-8", "surrogateescape"))
        if mounts != self._mounts:
            self._mounts = mounts
            old, self._layers = self._layers, {}
            # An equal answer stays the same object, so that plans made from it stay good.
            for key, layers in old.items():
                fresh = extra_layers(mounts, *key)
                self._layers[key] = layers if layers == fresh else fresh


mount_table = MountTable()


def _forget_after_fork() -> None:
    # The fd is shared with the parent: closing ours leaves theirs alone, polling it would eat their reports.
    if mount_table._fd >= 0:
        os.close(mount_table._fd)
    mount_table.reset()


os.register_at_fork(after_in_child=_forget_after_fork)


def hidden_paths() -> tuple[str, ...]:
    """pyrt's own folders that a container on `host` would otherwise see; those in fresh places need no hiding."""
    folders = state_dirs()
    found = _hideable.get(folders)
    if found is None:
        found = tuple(path for path in folders if not any(_below(path, fresh) for fresh in FRESH))
        _hideable[folders] = found
    return tuple(path for path in found if os.path.lexists(path))


_hideable: dict[tuple[str, ...], tuple[str, ...]] = {}


def root_directory(path: str) -> str:
    """The real path of a `--rootfs` directory. Raises NotFound when it is none."""
    real = os.path.realpath(path)
    try:
        if stat.S_ISDIR(os.stat(real).st_mode):
            return real
    except OSError as e:
        raise NotFound(f"--rootfs {path}: {errno_words(e.errno or 0)}") from None
    raise NotFound(f"--rootfs {path}: not a directory")


# -- without privileges ----------------------------------------------------------------------------------------------

_DEEPEST = 4
_MOST_ENTRIES = 256


def split_root(mounts: Iterable[HostMount], root: str = "/", fresh: tuple[str, ...] = FRESH) -> tuple[ExtraLayer, ...]:
    """The root as pieces that have no mount below them: a layer for each directory, links and empty directories.

    ``mounts`` are all of the machine's. Directories with mounts below are taken apart, level by level. Files between them
    are bound read-only.
    """
    places = [mount.path for mount in mounts]
    skipped = {root.rstrip("/") + path for path in fresh} | set(state_dirs())
    return tuple(_pieces(root, "", places, skipped, 0))


def _pieces(folder: str, inside: str, places: list[str], skipped: set[str], depth: int) -> Iterator[ExtraLayer]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)[:_MOST_ENTRIES]
    except OSError:
        return
    for entry in entries:
        path = f"{inside}/{entry.name}"
        if entry.path in skipped:
            yield ExtraLayer(entry.path, path, "dir")
        elif entry.is_symlink():
            yield ExtraLayer(os.readlink(entry.path), path, "link")
        elif not entry.is_dir(follow_symlinks=False):
            if entry.is_file(follow_symlinks=False) and os.access(entry.path, os.R_OK):
                yield ExtraLayer(entry.path, path, "bind")
        elif not any(place.startswith(entry.path + "/") for place in places):
            yield ExtraLayer(entry.path, path, "overlay")
        elif depth + 1 >= _DEEPEST:
            yield ExtraLayer(entry.path, path, "rbind")
        else:
            yield ExtraLayer(entry.path, path, "dir")
            yield from _pieces(entry.path, path, places, skipped, depth + 1)

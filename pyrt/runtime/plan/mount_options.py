"""Mount options as the OCI specification and fstab have them, as flags for the kernel and data for the file system."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from msgspec import Struct

from pyrt.runtime.plan import constants as k

__all__ = ["KNOWN", "MountOptions", "attributes", "parse"]

_FLAGS: dict[str, tuple[bool, int]] = {
    "acl": (True, k.MS_POSIXACL),
    "async": (False, k.MS_SYNCHRONOUS),
    "atime": (False, k.MS_NOATIME),
    "bind": (True, k.MS_BIND),
    "defaults": (True, 0),
    "dev": (False, k.MS_NODEV),
    "diratime": (False, k.MS_NODIRATIME),
    "dirsync": (True, k.MS_DIRSYNC),
    "exec": (False, k.MS_NOEXEC),
    "iversion": (True, k.MS_I_VERSION),
    "lazytime": (True, k.MS_LAZYTIME),
    "loud": (False, k.MS_SILENT),
    "mand": (True, k.MS_MANDLOCK),
    "noatime": (True, k.MS_NOATIME),
    "noacl": (False, k.MS_POSIXACL),
    "nodev": (True, k.MS_NODEV),
    "nodiratime": (True, k.MS_NODIRATIME),
    "noexec": (True, k.MS_NOEXEC),
    "noiversion": (False, k.MS_I_VERSION),
    "nolazytime": (False, k.MS_LAZYTIME),
    "nomand": (False, k.MS_MANDLOCK),
    "norelatime": (False, k.MS_RELATIME),
    "nostrictatime": (False, k.MS_STRICTATIME),
    "nosuid": (True, k.MS_NOSUID),
    "nosymfollow": (True, k.MS_NOSYMFOLLOW),
    "rbind": (True, k.MS_BIND | k.MS_REC),
    "relatime": (True, k.MS_RELATIME),
    "remount": (True, k.MS_REMOUNT),
    "ro": (True, k.MS_RDONLY),
    "rw": (False, k.MS_RDONLY),
    "silent": (True, k.MS_SILENT),
    "strictatime": (True, k.MS_STRICTATIME),
    "suid": (False, k.MS_NOSUID),
    "symfollow": (False, k.MS_NOSYMFOLLOW),
    "sync": (True, k.MS_SYNCHRONOUS),
}

_SPREAD = {
    "private": k.MS_PRIVATE,
    "shared": k.MS_SHARED,
    "slave": k.MS_SLAVE,
    "unbindable": k.MS_UNBINDABLE,
    "rprivate": k.MS_PRIVATE | k.MS_REC,
    "rshared": k.MS_SHARED | k.MS_REC,
    "rslave": k.MS_SLAVE | k.MS_REC,
    "runbindable": k.MS_UNBINDABLE | k.MS_REC,
}

# mount_setattr(2) on a mount and all below it: (bits to set, bits to clear)
_RECURSIVE: dict[str, tuple[int, int]] = {
    "rro": (k.MOUNT_ATTR_RDONLY, 0),
    "rrw": (0, k.MOUNT_ATTR_RDONLY),
    "rnosuid": (k.MOUNT_ATTR_NOSUID, 0),
    "rsuid": (0, k.MOUNT_ATTR_NOSUID),
    "rnodev": (k.MOUNT_ATTR_NODEV, 0),
    "rdev": (0, k.MOUNT_ATTR_NODEV),
    "rnoexec": (k.MOUNT_ATTR_NOEXEC, 0),
    "rexec": (0, k.MOUNT_ATTR_NOEXEC),
    "rnodiratime": (k.MOUNT_ATTR_NODIRATIME, 0),
    "rdiratime": (0, k.MOUNT_ATTR_NODIRATIME),
    "rrelatime": (k.MOUNT_ATTR_RELATIME, k.MOUNT_ATTR_ATIME),
    "rnorelatime": (k.MOUNT_ATTR_STRICTATIME, k.MOUNT_ATTR_ATIME),
    "rnoatime": (k.MOUNT_ATTR_NOATIME, k.MOUNT_ATTR_ATIME),
    "ratime": (k.MOUNT_ATTR_RELATIME, k.MOUNT_ATTR_ATIME),
    "rstrictatime": (k.MOUNT_ATTR_STRICTATIME, k.MOUNT_ATTR_ATIME),
    "rnostrictatime": (k.MOUNT_ATTR_RELATIME, k.MOUNT_ATTR_ATIME),
    "rnosymfollow": (k.MOUNT_ATTR_NOSYMFOLLOW, 0),
    "rsymfollow": (0, k.MOUNT_ATTR_NOSYMFOLLOW),
}

KNOWN: tuple[str, ...] = tuple(sorted({*_FLAGS, *_SPREAD, *_RECURSIVE, "idmap", "ridmap", "tmpcopyup"}))
"""Every option that is not the file system's own (`features` lists them)."""


class MountOptions(Struct, frozen=True):
    """``flags``: MS_*; ``spread``: propagation; ``data``: the file system's own; ``rec_set``/``rec_clear``: MOUNT_ATTR_* for
    the mount and all below it; ``cleared``: MS_* that an option takes away; ``idmap``: "", "idmap" or "ridmap"."""

    flags: int = 0
    spread: int = 0
    data: tuple[str, ...] = ()
    rec_set: int = 0
    rec_clear: int = 0
    cleared: int = 0
    idmap: str = ""

    @property
    def is_bind(self) -> bool:
        """Binds what is there, instead of mounting something new."""
        return bool(self.flags & k.MS_BIND)


@functools.lru_cache(maxsize=256)
def parse(options: tuple[str, ...]) -> MountOptions:
    """Options in their order: later ones win. "tmpcopyup" stays in the data, where the executor finds it."""
    flags = spread = rec_set = rec_clear = cleared = 0
    data: list[str] = []
    idmap = ""
    for word in options:
        flag = _FLAGS.get(word)
        if flag is not None:
            on, bits = flag
            flags, cleared = (flags | bits, cleared & ~bits) if on else (flags & ~bits, cleared | bits)
        elif word in _SPREAD:
            spread = _SPREAD[word]
        elif word in _RECURSIVE:
            on_bits, off_bits = _RECURSIVE[word]
            rec_set = (rec_set & ~off_bits) | on_bits
            rec_clear = (rec_clear & ~on_bits) | off_bits
        elif word in ("idmap", "ridmap"):
            idmap = word
        elif word:
            data.append(word)
    return MountOptions(flags, spread, tuple(data), rec_set, rec_clear, cleared, idmap)


def attributes(flags: int) -> tuple[int, int]:
    """MS_* as mount_setattr(2) takes them: (MOUNT_ATTR_* to set, to clear)."""
    pairs: Sequence[tuple[int, int]] = (
        (k.MS_RDONLY, k.MOUNT_ATTR_RDONLY),
        (k.MS_NOSUID, k.MOUNT_ATTR_NOSUID),
        (k.MS_NODEV, k.MOUNT_ATTR_NODEV),
        (k.MS_NOEXEC, k.MOUNT_ATTR_NOEXEC),
        (k.MS_NODIRATIME, k.MOUNT_ATTR_NODIRATIME),
        (k.MS_NOSYMFOLLOW, k.MOUNT_ATTR_NOSYMFOLLOW),
    )
    found = 0
    for flag, attribute in pairs:
        if flags & flag:
            found |= attribute
    times = flags & (k.MS_NOATIME | k.MS_STRICTATIME | k.MS_RELATIME)
    if not times:
        return found, 0
    if times & k.MS_NOATIME:
        found |= k.MOUNT_ATTR_NOATIME
    elif times & k.MS_STRICTATIME:
        found |= k.MOUNT_ATTR_STRICTATIME
    return found, k.MOUNT_ATTR_ATIME

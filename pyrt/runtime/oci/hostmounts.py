"""Mounts of a container that has no mount namespace of its own: they are the host's, and stay until they are taken away."""

from __future__ import annotations

import os
from collections import Counter

from pyrt.base.errors import PyrtError, errno_words
from pyrt.model import oci
from pyrt.native.executor import detach_mount

__all__ = ["detach_new", "mounts_below", "shares_the_hosts"]

_ESCAPES = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\"))


def shares_the_hosts(spec: oci.Spec) -> bool:
    """Whether the container's mounts go into the caller's mount namespace."""
    return spec.linux is not None and not any(space.type == "mount" for space in spec.linux.namespaces)


def mounts_below(root: str) -> tuple[str, ...]:
    """The mount points at and below a directory, in the order in which they were mounted (proc_pid_mountinfo(5)).

    One that another one covers stands there twice.
    """
    root = os.path.realpath(root)
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            point = line.split(" ")[4]
            for code, char in _ESCAPES:
                point = point.replace(code, char)
            if point == root or point.startswith(root.rstrip("/") + "/"):
                found.append(point)
    return tuple(found)


def detach_new(root: str, before: tuple[str, ...]) -> None:
    """Takes away every mount at or below `root` that was not there `before`, the last one first.

    Raises PyrtError when one stays: whoever removes the bundle would walk into it.
    """
    kept = Counter(before)
    new = []
    for point in mounts_below(root):
        if kept[point] > 0:
            kept[point] -= 1
        else:
            new.append(point)
    for point in reversed(new):
        try:
            detach_mount(point)
        except OSError as error:
            raise PyrtError(f"umount {point}: {errno_words(error.errno or 0)}: it is in the way of removing the bundle") from None

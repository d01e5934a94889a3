"""Processes as /proc shows them: proc(5)."""

from __future__ import annotations

import os
from dataclasses import dataclass

from pyrt.base.errors import PyrtError, errno_words

__all__ = ["ProcessStat", "boot_id", "cgroup_v2_path", "is_waiting_at_gate", "namespaces_apart", "stat"]

_NAMESPACE_FILES = {
    "user": "user",
    "pid": "pid",
    "network": "net",
    "ipc": "ipc",
    "uts": "uts",
    "cgroup": "cgroup",
    "time": "time",
    "mount": "mnt",
}


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """State letter, and start time in clock ticks since boot: with the pid it names a process for good."""

    state: str
    start: int


def stat(pid: int) -> ProcessStat | None:
    """What /proc/PID/stat says; None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return ProcessStat(fields[0].decode(), int(fields[19]))
    except (OSError, IndexError, ValueError):
        return None


def boot_id() -> str:
    """Changes with every boot, and start times count from there."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def is_waiting_at_gate(pid: int) -> bool:
    """Does the process still run pyrt's own program, and not yet the container's?"""
    try:
        return "pyrt-exec" in os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return True  # not ours to look into; the gate's socket has to do


def namespaces_apart(pid: int) -> tuple[str, ...]:
    """The specification's names of the namespaces in which process `pid` is and we are not.

    Raises PyrtError when they cannot be seen: a process must never stay outside because nobody could look."""
    apart = []
    for name, file in _NAMESPACE_FILES.items():
        try:
            ours = os.stat(f"/proc/self/ns/{file}")
        except FileNotFoundError:
            continue  # this kernel does not have the kind
        try:
            theirs = os.stat(f"/proc/{pid}/ns/{file}")
        except OSError as error:
            raise PyrtError(f"the namespaces of process {pid} cannot be seen: {errno_words(error.errno or 0)}") from None
        if not os.path.samestat(theirs, ours):
            apart.append(name)
    return tuple(apart)


def cgroup_v2_path(pid: int) -> str:
    """The process's path in the v2 hierarchy ("/a/b"), "" when it cannot be told."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            return next((line[3:].rstrip("\n") for line in file if line.startswith("0::")), "")
    except OSError:
        return ""

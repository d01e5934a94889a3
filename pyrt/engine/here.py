"""What this machine and this user allow: read once, and again after a fork or a change of user."""

from __future__ import annotations

import os

from pyrt.runtime.host import IdRange, host_facts
from pyrt.runtime.spec import defaults
from pyrt.runtime.spec.from_request import Surroundings

__all__ = ["surroundings"]

_cached: dict[int, Surroundings] = {}


def surroundings() -> Surroundings:
    """The Surroundings of this process. Cheap after the first time."""
    uid = os.geteuid()
    found = _cached.get(uid)
    if found is None:
        found = _cached[uid] = _look(uid)
    return found


def _look(uid: int) -> Surroundings:
    facts, gid = host_facts(), os.getegid()
    return Surroundings(
        root=uid == 0,
        uid=uid,
        gid=gid,
        capabilities=_capabilities(),
        uid_map=_id_map(uid, facts.newuidmap, facts.subuid, "/proc/self/uid_map"),
        gid_map=_id_map(gid, facts.newgidmap, facts.subgid, "/proc/self/gid_map"),
        cpus=os.cpu_count() or 1,
        cpus_online=_online(),
        nodename=os.uname().nodename,
        selinux="selinux" in facts.lsms,
    )


def _online() -> str:
    """The CPUs in use, as a list: "0-3"."""
    try:
        with open("/sys/devices/system/cpu/online", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _capabilities() -> frozenset[str]:
    """What we have ourselves and may hand on: the permitted and bounding sets (capabilities(7))."""
    permitted = bounding = 0
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("CapPrm:"):
                permitted = int(line[7:], 16)
            elif line.startswith("CapBnd:"):
                bounding = int(line[7:], 16)
    mask = permitted & bounding
    return frozenset(name for number, name in enumerate(defaults.CAPABILITIES) if mask >> number & 1)


def _id_map(own: int, helper: str, ranges: tuple[IdRange, ...], here: str) -> tuple[tuple[int, int, int], ...]:
    """What a user namespace of ours maps: for root every id as it is; for others their own id as 0, then their ranges of
    /etc/subuid or /etc/subgid, if newuidmap is there to write them."""
    if os.geteuid() == 0:
        return tuple((inside, inside, size) for inside, size in _mapped_here(here))
    found, inside = [(0, own, 1)], 1
    for entry in ranges if helper else ():
        found.append((inside, entry.start, entry.size))
        inside += entry.size
    return tuple(found)


def _mapped_here(path: str) -> list[tuple[int, int]]:
    """The ids of our own user namespace: (first, how many)."""
    with open(path, encoding="ascii") as file:
        return [(int(fields[0]), int(fields[2])) for fields in map(str.split, file) if len(fields) == 3]


def _forget_after_fork() -> None:
    _cached.clear()


os.register_at_fork(after_in_child=_forget_after_fork)

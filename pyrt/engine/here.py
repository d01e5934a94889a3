"""What this machine and this user allow: read once, and again after a fork or a change of user."""

from __future__ import annotations

import os

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
    gid = os.getegid()
    return Surroundings(
        root=uid == 0,
        uid=uid,
        gid=gid,
        capabilities=_capabilities(),
        uid_map=_id_map("uid", uid),
        gid_map=_id_map("gid", gid),
        cpus=os.cpu_count() or 1,
        nodename=os.uname().nodename,
        selinux=os.path.exists("/sys/fs/selinux/enforce"),
    )


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


def _id_map(kind: str, own: int) -> tuple[tuple[int, int, int], ...]:
    """What a user namespace of ours maps: for root every id as it is; for others their own id as 0, then their range of
    /etc/subuid or /etc/subgid, if they have one and newuidmap is there to write it."""
    if os.geteuid() == 0:
        return tuple((inside, inside, size) for inside, size in _mapped_here(kind))
    ranges = [(0, own, 1)]
    if _has_helper(f"new{kind}map"):
        inside = 1
        for start, size in _sub_ids(kind):
            ranges.append((inside, start, size))
            inside += size
    return tuple(ranges)


def _mapped_here(kind: str) -> list[tuple[int, int]]:
    """The ids of our own user namespace: (first, how many)."""
    with open(f"/proc/self/{kind}_map", encoding="ascii") as file:
        return [(int(fields[0]), int(fields[2])) for fields in map(str.split, file) if len(fields) == 3]


def _has_helper(name: str) -> bool:
    return any(os.access(os.path.join(folder, name), os.X_OK) for folder in ("/usr/bin", "/bin", "/usr/local/bin"))


def _sub_ids(kind: str) -> list[tuple[int, int]]:
    """The ranges that subuid(5) or subgid(5) gives to this user, by name or number."""
    owners = {str(os.getuid())}
    try:
        import pwd

        owners.add(pwd.getpwuid(os.getuid()).pw_name)
    except KeyError:
        pass
    found = []
    try:
        with open(f"/etc/sub{kind}", encoding="utf-8", errors="replace") as file:
            for line in file:
                fields = line.strip().split(":")
                if len(fields) == 3 and fields[0] in owners and fields[1].isdigit() and fields[2].isdigit():
                    found.append((int(fields[1]), int(fields[2])))
    except OSError:
        pass
    return found


def _forget_after_fork() -> None:
    _cached.clear()


os.register_at_fork(after_in_child=_forget_after_fork)

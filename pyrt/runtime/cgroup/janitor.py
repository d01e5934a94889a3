"""What dead owners left behind: cgroups of ephemeral containers whose process ended without cleaning up.

The name of such a cgroup says whose it is (`layout.ephemeral_name`). One look into the journal's folder finds them all, since
the directory there is made first and removed last.
"""

from __future__ import annotations

import os
import re

from pyrt.base.errors import PyrtError
from pyrt.runtime.cgroup.layout import ephemeral_parent, read_start_time
from pyrt.runtime.cgroup.manager import Manager
from pyrt.runtime.host import HostFacts

__all__ = ["leftovers", "sweep"]

_NAME = re.compile(r"eph-(\d+)-(\d+)-[0-9a-zA-Z_.-]+\Z")


def leftovers(facts: HostFacts) -> tuple[str, ...]:
    """Names in the folder of ephemeral containers whose owners are no more."""
    parent = ephemeral_parent(facts)
    journal = facts.journal
    if not parent or journal is None:
        return ()
    found = []
    for name in _names(journal.directory(parent)):
        owner = _NAME.match(name)
        if owner and read_start_time(int(owner[1])) != int(owner[2]):
            found.append(name)
    return tuple(found)


def _names(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def sweep(facts: HostFacts) -> int:
    """Ends what still runs in leftovers and removes them in every hierarchy. Gives back how many there were; never raises
    for one that resists, which the next sweep meets again."""
    parent = ephemeral_parent(facts)
    count = 0
    for name in leftovers(facts):
        manager = Manager.of(facts, f"{parent}/{name}")
        try:
            manager.kill()
            manager.remove()
        except (PyrtError, OSError):
            continue
        count += 1
    return count

"""Removing what killed processes left: the cgroups of runs whose owner is gone.

A run's cgroup is named after the process that owns it (`layout.ephemeral_name`), is made first and removed last in one
hierarchy, the journal. So one directory has to be listed, whatever the number of containers, and nothing is written for
the purpose when a container starts.
"""

from __future__ import annotations

import os
import signal

from pyrt.base.errors import PyrtError
from pyrt.runtime.cgroup import files
from pyrt.runtime.cgroup.layout import ephemeral_parent, read_start_time
from pyrt.runtime.cgroup.manager import Manager
from pyrt.runtime.host import HostFacts

__all__ = ["sweep"]

_PREFIX = "eph-"


def sweep(facts: HostFacts) -> int:
    """Removes the leftovers, and says how many. What cannot be removed now stays for the next time."""
    parent, journal = ephemeral_parent(facts), facts.journal
    if not parent or journal is None:
        return 0
    try:
        names = os.listdir(journal.directory(parent))
    except OSError:
        return 0
    return sum(_remove(facts, f"{parent}/{name}") for name in names if _is_abandoned(name))


def _is_abandoned(name: str) -> bool:
    """Whether the name is that of a run whose owner (pid and start time) does not live any more."""
    words = name.split("-")
    if len(words) != 4 or not name.startswith(_PREFIX) or not (words[1].isdigit() and words[2].isdigit()):
        return False
    return read_start_time(int(words[1])) != int(words[2])


def _remove(facts: HostFacts, path: str) -> bool:
    """The executor may still be at it (it notices its caller's death by itself): then the cgroup is its to remove, and gone soon."""
    manager = Manager(facts, path)
    try:
        if all(files.remove_tree(directory) for _, directory in reversed(manager.layout.entries)):
            return True
        manager.kill(signal.SIGKILL)
        manager.remove()
    except (PyrtError, OSError):
        return False
    return True

from __future__ import annotations

import os
import resource

from pyrt.runtime.plan import constants as k


def test_the_numbers_are_those_of_the_system() -> None:
    for name in ("ST_RDONLY", "ST_NOSUID", "ST_NODEV", "ST_NOEXEC", "ST_NOATIME", "ST_RELATIME"):
        if hasattr(os, name) and name != "ST_RELATIME":
            assert getattr(k, "MS_" + name[3:]) == getattr(os, name)
    for name in ("CLONE_NEWNS", "CLONE_NEWPID", "CLONE_NEWUSER"):
        if hasattr(os, name):
            assert getattr(k, name) == getattr(os, name)
    for name, number in k.RLIMITS.items():
        if hasattr(resource, name):
            assert getattr(resource, name) == number
    assert (k.SCHEDULERS["SCHED_FIFO"], k.SCHEDULERS["SCHED_BATCH"]) == (os.SCHED_FIFO, os.SCHED_BATCH)


def test_names_of_bits() -> None:
    assert k.bit_names(k.MS_RDONLY | k.MS_NOSUID | 1 << 40, k.MOUNT_FLAGS) == ["ro", "nosuid", hex(1 << 40)]
    assert k.bit_names(0, k.MOUNT_FLAGS) == []


def test_every_namespace_has_a_file_and_a_name() -> None:
    assert set(k.NAMESPACES) == set(k.NAMESPACE_FILES)
    assert {k.CLONE_NAMES[bit] for bit in k.NAMESPACES.values()} == set(k.NAMESPACES)

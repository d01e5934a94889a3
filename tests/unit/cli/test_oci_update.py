"""The flags of `update` as the specification's object."""

from __future__ import annotations

import pytest

from pyrt.base.errors import InvalidRequest
from pyrt.cli.oci_update import resources_from_flags


def test_update_flags() -> None:
    wanted = resources_from_flags({"memory": "64m", "memory-swap": "-1", "cpu-quota": "-1", "pids-limit": "5", "cpuset-cpus": "0-1"})
    assert wanted.memory is not None and (wanted.memory.limit, wanted.memory.swap) == (64 << 20, -1)
    assert wanted.cpu is not None and (wanted.cpu.quota, wanted.cpu.cpus) == (-1, "0-1")
    assert wanted.pids is not None and wanted.pids.limit == 5
    for bad in ({"cpu-share": "many"}, {"memory": "lots"}, {"blkio-weight": "-1"}, {"cpu-period": "-5"}):
        with pytest.raises(InvalidRequest):
            resources_from_flags(bad)


def test_what_is_not_said_is_not_set() -> None:
    wanted = resources_from_flags({"memory": None, "cpu-share": "", "l3-cache-schema": None})
    assert (wanted.memory, wanted.cpu, wanted.pids) == (None, None, None)

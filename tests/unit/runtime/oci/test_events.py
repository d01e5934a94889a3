"""The names and shapes that readers of runc's events know."""

from __future__ import annotations

import json

from pyrt.runtime.cgroup.stats import BlockStats, CpuStats, HugetlbStats, MemoryStats, PidsStats, Pressure, Stats
from pyrt.runtime.oci.events import from_stats


def test_shape() -> None:
    stats = Stats(
        cpu=CpuStats(usage=10, user=6, system=4, per_cpu=(7, 3), periods=1, pressure={"some": Pressure(total=5)}),
        memory=MemoryStats(usage=100, peak=200, limit=None, fail_count=2, cache=5, raw={"anon": 1}),
        pids=PidsStats(current=3, limit=20),
        block=(BlockStats(8, 1, read_bytes=11, write_bytes=12, read_ops=13, write_ops=14),),
        hugetlb=(HugetlbStats("2MB", usage=1, peak=None, fail_count=3),),
    )
    document = json.loads(json.dumps(from_stats(stats)))
    assert document["cpu"]["usage"] == {"total": 10, "kernel": 4, "user": 6, "percpu": [7, 3]}
    assert document["cpu"]["psi"]["some"]["total"] == 5
    assert document["memory"]["usage"] == {"limit": 2**64 - 1, "usage": 100, "max": 200, "failcnt": 2}
    assert document["memory"]["raw"] == {"anon": 1}
    assert document["pids"] == {"current": 3, "limit": 20}
    assert document["blkio"]["ioServiceBytesRecursive"] == [
        {"major": 8, "minor": 1, "op": "Read", "value": 11},
        {"major": 8, "minor": 1, "op": "Write", "value": 12},
    ]
    assert [e["value"] for e in document["blkio"]["ioServicedRecursive"]] == [13, 14]
    assert document["hugetlb"] == {"2MB": {"usage": 1, "max": 0, "failcnt": 3}}


def test_numbers_that_a_machine_lacks_are_zero() -> None:
    document = from_stats(Stats())
    assert document["cpu"]["usage"] == {"total": 0, "kernel": 0, "user": 0}
    assert document["pids"] == {"current": 0, "limit": 0}
    assert document["blkio"]["ioServiceBytesRecursive"] == []

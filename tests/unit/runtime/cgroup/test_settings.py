from __future__ import annotations

from typing import Any

import pytest

from pyrt.base.errors import InvalidSpec, Unsupported
from pyrt.model import oci
from pyrt.runtime.cgroup.settings import controllers, settings
from pyrt.runtime.host import Hierarchy, HostFacts
from tests.unit.runtime.plan.kit import HYBRID, V1, V2

GIB = 1 << 30


def values(facts: HostFacts, **fields: Any) -> list[tuple[str, str]]:
    return [(s.file, s.value) for s in settings(oci.LinuxResources(**fields), facts)]


def test_memory() -> None:
    memory = oci.LinuxMemory(limit=GIB, swap=2 * GIB, reservation=GIB // 2)
    assert values(V2, memory=memory) == [("memory.swap.max", str(GIB)), ("memory.max", str(GIB)), ("memory.low", str(GIB // 2))]
    assert values(V1, memory=memory) == [
        ("memory.limit_in_bytes", str(GIB)),
        ("memory.memsw.limit_in_bytes", str(2 * GIB)),
        ("memory.soft_limit_in_bytes", str(GIB // 2)),
    ]


def test_unlimited_memory() -> None:
    memory = oci.LinuxMemory(limit=-1)
    assert values(V2, memory=memory) == [("memory.swap.max", "max"), ("memory.max", "max")]
    assert values(V1, memory=memory) == [("memory.limit_in_bytes", "-1"), ("memory.memsw.limit_in_bytes", "-1")]


def test_memory_of_v1_only() -> None:
    memory = oci.LinuxMemory(swappiness=0, disable_oom_killer=True)
    assert values(V1, memory=memory) == [("memory.swappiness", "0"), ("memory.oom_control", "1")]
    with pytest.raises(Unsupported, match="cgroup v2 has no switch for the OOM killer"):
        values(V2, memory=memory)


def test_a_limit_of_swap_that_nobody_asked_for_may_be_missing() -> None:
    resources = oci.LinuxResources(memory=oci.LinuxMemory(limit=GIB, swap=2 * GIB))
    swap = next(s for s in settings(resources, V2, str, lambda path: False) if "swap" in s.file)
    assert swap.optional
    swap = next(s for s in settings(resources, V2) if "swap" in s.file)
    assert not swap.optional


def test_cpu() -> None:
    cpu = oci.LinuxCPU(shares=1024, quota=50000, period=100000, burst=1000, cpus="0-1", mems="0")
    assert values(V2, cpu=cpu) == [
        ("cpu.weight", "39"),
        ("cpu.max", "50000 100000"),
        ("cpu.max.burst", "1000"),
        ("cpuset.cpus", "0-1"),
        ("cpuset.mems", "0"),
    ]
    assert values(V1, cpu=cpu) == [
        ("cpu.shares", "1024"),
        ("cpu.cfs_period_us", "100000"),
        ("cpu.cfs_quota_us", "50000"),
        ("cpu.cfs_burst_us", "1000"),
        ("cpuset.cpus", "0-1"),
        ("cpuset.mems", "0"),
    ]


def test_real_time_is_v1_s() -> None:
    cpu = oci.LinuxCPU(realtime_runtime=1000, realtime_period=10000)
    assert values(V1, cpu=cpu) == [("cpu.rt_period_us", "10000"), ("cpu.rt_runtime_us", "1000")]
    with pytest.raises(Unsupported, match="real-time"):
        values(V2, cpu=cpu)


def test_pids() -> None:
    assert values(V2, pids=oci.LinuxPids(limit=20)) == [("pids.max", "20")]
    assert values(V1, pids=oci.LinuxPids(limit=-1)) == [("pids.max", "max")]


def test_block_io() -> None:
    device = oci.LinuxThrottleDevice(major=8, minor=0, rate=1000)
    io = oci.LinuxBlockIO(weight=100, throttle_read_bps_device=(device,), throttle_write_iops_device=(device,))
    assert values(V2, block_io=io) == [
        ("io.bfq.weight", "100"),
        ("io.weight", "default 910"),
        ("io.max", "8:0 rbps=1000"),
        ("io.max", "8:0 wiops=1000"),
    ]
    assert values(V1, block_io=io) == [
        ("blkio.bfq.weight", "100"),
        ("blkio.throttle.read_bps_device", "8:0 1000"),
        ("blkio.throttle.write_iops_device", "8:0 1000"),
    ]
    with pytest.raises(InvalidSpec, match="from 10 to 1000"):
        values(V2, block_io=oci.LinuxBlockIO(weight=5))
    with pytest.raises(Unsupported, match="leaf weight"):
        values(V1, block_io=oci.LinuxBlockIO(leaf_weight=50))


def test_the_rest() -> None:
    assert values(V2, hugepage_limits=(oci.LinuxHugepageLimit(page_size="2MB", limit=5),)) == [
        ("hugetlb.2MB.max", "5"),
        ("hugetlb.2MB.rsvd.max", "5"),
    ]
    network = oci.LinuxNetwork(class_id=7, priorities=(oci.LinuxInterfacePriority(name="eth0", priority=3),))
    facts = HostFacts(mode="v1", hierarchies=(Hierarchy("/cg/net", ("net_cls", "net_prio")),))
    assert values(facts, network=network) == [("net_cls.classid", "7"), ("net_prio.ifpriomap", "eth0 3")]
    rdma = {"mlx5_1": oci.LinuxRdma(hca_handles=3, hca_objects=10000)}
    facts = HostFacts(mode="v1", hierarchies=(Hierarchy("/cg/rdma", ("rdma",)),))
    assert values(facts, rdma=rdma) == [("rdma.max", "mlx5_1 hca_handle=3 hca_object=10000")]
    with pytest.raises(Unsupported, match="net_cls"):
        values(V2, network=network)


def test_unified_keys() -> None:
    assert values(V2, unified={"memory.high": "1000", "cgroup.max.depth": "3", "io.max": "8:0 rbps=1\n8:16 rbps=2"}) == [
        ("memory.high", "1000"),
        ("cgroup.max.depth", "3"),
        ("io.max", "8:0 rbps=1"),
        ("io.max", "8:16 rbps=2"),
    ]
    assert values(HYBRID, unified={"cgroup.max.depth": "3"}) == [("cgroup.max.depth", "3")]
    with pytest.raises(Unsupported, match="no cgroup v2"):
        values(V1, unified={"memory.high": "1"})
    with pytest.raises(Unsupported, match="no controller 'memory'"):
        values(HYBRID, unified={"memory.high": "1"})
    for key in ("../x", "memory/high", "plain", ".hidden"):
        with pytest.raises(InvalidSpec):
            values(V2, unified={key: "1"})


def test_what_is_zero_or_empty_is_not_set() -> None:
    resources = oci.LinuxResources(
        memory=oci.LinuxMemory(limit=0, disable_oom_killer=False),
        cpu=oci.LinuxCPU(shares=0, quota=0, period=0),
        pids=oci.LinuxPids(limit=0),
        block_io=oci.LinuxBlockIO(weight=0),
    )
    assert [(s.file, s.value) for s in settings(resources, V2)] == [("pids.max", "max")]
    assert settings(resources, HostFacts()) == []


def test_a_limit_that_cannot_be_kept_names_who_asked() -> None:
    with pytest.raises(Unsupported, match=r"^-m 64m: no cgroups are mounted"):
        settings(oci.LinuxResources(memory=oci.LinuxMemory(limit=GIB)), HostFacts(), lambda path: "-m 64m")
    without = HostFacts(mode="hybrid", hierarchies=HYBRID.hierarchies[-1:])
    with pytest.raises(Unsupported, match="no cgroup controller 'pids'"):
        settings(oci.LinuxResources(pids=oci.LinuxPids(limit=5)), without)


def test_controllers_that_are_needed() -> None:
    found = settings(oci.LinuxResources(pids=oci.LinuxPids(limit=5), cpu=oci.LinuxCPU(quota=1000, cpus="0")), V2)
    assert controllers(found) == ("pids", "cpu", "cpuset")

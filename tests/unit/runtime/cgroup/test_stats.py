from __future__ import annotations

from pathlib import Path

from pyrt.runtime.cgroup.layout import Layout
from pyrt.runtime.cgroup.stats import BlockStats, HugetlbStats, Pressure, read_limits, read_stats
from pyrt.runtime.host import Hierarchy


def fill(top: Path, files: dict[str, str]) -> str:
    top.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (top / name).write_text(text)
    return str(top)


def v2(tmp_path: Path) -> Layout:
    path = fill(
        tmp_path / "x",
        {
            "cpu.stat": "usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 9\nnr_throttled 4\nthrottled_usec 7\n",
            "cpu.max": "50000 100000\n",
            "cpu.weight": "39\n",
            "cpu.pressure": "some avg10=1.50 avg60=0.00 avg300=0.00 total=77\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
            "memory.current": "4096\n",
            "memory.peak": "8192\n",
            "memory.max": "max\n",
            "memory.swap.current": "0\n",
            "memory.swap.max": "1000\n",
            "memory.low": "0\n",
            "memory.events": "low 0\nmax 3\noom_kill 2\n",
            "memory.stat": "anon 1\nfile 2\nkernel 3\ninactive_file 1\n",
            "pids.current": "2\n",
            "pids.max": "max\n",
            "io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n",
            "hugetlb.2MB.current": "2097152\n",
            "hugetlb.2MB.rsvd.current": "0\n",
            "hugetlb.2MB.events": "max 1\n",
            "cpuset.cpus": "0-1\n",
            "cpuset.mems": "\n",
        },
    )
    return Layout(((Hierarchy(str(tmp_path), ("cpu", "cpuset", "io", "memory", "hugetlb", "pids"), "", True), path),))


def test_v2(tmp_path: Path) -> None:
    stats = read_stats(v2(tmp_path))
    assert (stats.cpu.usage, stats.cpu.user, stats.cpu.throttled_time) == (5000, 3000, 7000)
    assert stats.cpu.pressure["some"] == Pressure(1.5, 0.0, 0.0, 77)
    assert (stats.memory.usage, stats.memory.peak, stats.memory.limit, stats.memory.oom_kills) == (4096, 8192, None, 2)
    assert stats.memory.kernel_usage == 3 and stats.memory.cache == 2
    assert (stats.pids.current, stats.pids.limit) == (2, None)
    assert stats.block == (BlockStats(8, 0, 10, 20, 1, 2, 0, 0),)
    assert stats.hugetlb == (HugetlbStats("2MB", 2097152, None, 1),)


def test_limits_of_v2(tmp_path: Path) -> None:
    limits = read_limits(v2(tmp_path))
    assert (limits.cpu_quota, limits.cpu_period, limits.cpu_weight) == (50000, 100000, 39)
    assert limits.memory is None and limits.memory_swap is None and limits.cpus == "0-1" and limits.mems == ""


def test_v1(tmp_path: Path) -> None:
    memory = fill(
        tmp_path / "memory/x",
        {
            "memory.usage_in_bytes": "100\n",
            "memory.limit_in_bytes": "67108864\n",
            "memory.memsw.limit_in_bytes": "9223372036854771712\n",
            "memory.max_usage_in_bytes": "200\n",
            "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
            "memory.stat": "cache 5\ntotal_cache 7\n",
        },
    )
    account = fill(
        tmp_path / "acct/x",
        {"cpuacct.usage": "9\n", "cpuacct.usage_user": "4\n", "cpuacct.usage_sys": "5\n", "cpuacct.usage_percpu": "4 5 \n"},
    )
    blkio = fill(
        tmp_path / "blkio/x", {"blkio.throttle.io_service_bytes_recursive": "254:0 Read 30\n254:0 Write 40\n254:0 Total 70\nTotal 70\n"}
    )
    layout = Layout(
        (
            (Hierarchy(f"{tmp_path}/memory", ("memory",)), memory),
            (Hierarchy(f"{tmp_path}/acct", ("cpuacct",)), account),
            (Hierarchy(f"{tmp_path}/blkio", ("blkio",)), blkio),
        )
    )
    stats = read_stats(layout)
    assert (stats.cpu.usage, stats.cpu.per_cpu) == (9, (4, 5))
    assert (stats.memory.limit, stats.memory.swap_limit, stats.memory.cache, stats.memory.oom_kills) == (67108864, None, 7, 1)
    assert stats.block == (BlockStats(254, 0, 30, 40),)
    assert read_limits(layout).memory == 67108864


def test_nothing_there_is_no_error() -> None:
    stats = read_stats(Layout())
    assert stats.cpu.usage is None and stats.memory.usage is None and stats.block == ()
    assert read_limits(Layout()).memory is None

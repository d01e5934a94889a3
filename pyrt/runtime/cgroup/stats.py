"""What a container uses and what it is limited to, in one shape for cgroup v1 and v2.

Times are nanoseconds, sizes bytes, None where this machine does not say; a limit of None is "no limit".
"""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass, field

from pyrt.runtime.cgroup.files import flat, number, read
from pyrt.runtime.cgroup.layout import Layout

__all__ = ["BlockStats", "CpuStats", "HugetlbStats", "Limits", "MemoryStats", "PidsStats", "Pressure", "Stats", "read_limits", "read_stats"]

_V1_UNLIMITED = 1 << 62
"""v1 writes "no limit" as the largest number of pages: anything from here on."""


@dataclass(frozen=True, slots=True)
class Pressure:
    """One line of a pressure file (kernel's accounting/psi.rst): percentages of the last 10, 60, 300 s; ``total`` in µs."""

    avg10: float = 0.0
    avg60: float = 0.0
    avg300: float = 0.0
    total: int = 0


@dataclass(frozen=True, slots=True)
class CpuStats:
    """CPU time, and how often the quota held it back."""

    usage: int | None = None
    user: int | None = None
    system: int | None = None
    per_cpu: tuple[int, ...] = ()
    periods: int = 0
    throttled_periods: int = 0
    throttled_time: int = 0
    pressure: dict[str, Pressure] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MemoryStats:
    """``usage`` now (with caches), ``peak`` ever, ``limit``; ``cache`` is file pages; ``raw`` is all of memory.stat."""

    usage: int | None = None
    peak: int | None = None
    limit: int | None = None
    fail_count: int = 0
    swap_usage: int | None = None
    swap_peak: int | None = None
    swap_limit: int | None = None
    kernel_usage: int | None = None
    cache: int = 0
    inactive_file: int = 0
    oom_kills: int = 0
    raw: dict[str, int] = field(default_factory=dict)
    pressure: dict[str, Pressure] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PidsStats:
    """Tasks now, ever, and at most."""

    current: int | None = None
    peak: int | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class BlockStats:
    """Bytes and operations of one block device."""

    major: int
    minor: int
    read_bytes: int = 0
    write_bytes: int = 0
    read_ops: int = 0
    write_ops: int = 0
    discard_bytes: int = 0
    discard_ops: int = 0


@dataclass(frozen=True, slots=True)
class HugetlbStats:
    """Huge pages of one size."""

    size: str
    usage: int = 0
    peak: int | None = None
    fail_count: int = 0


@dataclass(frozen=True, slots=True)
class Stats:
    """Everything at one moment."""

    cpu: CpuStats = field(default_factory=CpuStats)
    memory: MemoryStats = field(default_factory=MemoryStats)
    pids: PidsStats = field(default_factory=PidsStats)
    block: tuple[BlockStats, ...] = ()
    hugetlb: tuple[HugetlbStats, ...] = ()
    io_pressure: dict[str, Pressure] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits as the kernel has them now, in the specification's units (shares and weights of v2 in their own)."""

    memory: int | None = None
    memory_swap: int | None = None
    memory_reservation: int | None = None
    cpu_quota: int | None = None
    cpu_period: int | None = None
    cpu_shares: int | None = None
    cpu_weight: int | None = None
    cpus: str = ""
    mems: str = ""
    pids: int | None = None


def read_stats(layout: Layout) -> Stats:
    """Reads all that is there; never raises for what is not."""
    return Stats(
        cpu=_cpu(layout),
        memory=_memory(layout),
        pids=_pids(layout),
        block=_block(layout),
        hugetlb=_hugetlb(layout),
        io_pressure=_pressure(f"{layout.v2}/io.pressure") if layout.v2 else {},
    )


def _pressure(path: str) -> dict[str, Pressure]:
    found = {}
    for line in (read(path) or "").splitlines():
        kind, *words = line.split()
        values = dict(word.split("=", 1) for word in words if "=" in word)
        try:
            found[kind] = Pressure(
                float(values.get("avg10", 0)), float(values.get("avg60", 0)), float(values.get("avg300", 0)), int(values.get("total", 0))
            )
        except ValueError:
            continue
    return found


# -- cpu -------------------------------------------------------------------------------------------------------------


def _cpu(layout: Layout) -> CpuStats:
    control = layout.controller("cpu")
    account = layout.controller("cpuacct")
    if account and not account[1]:
        usage = number(f"{account[0]}/cpuacct.usage")
        user, system = number(f"{account[0]}/cpuacct.usage_user"), number(f"{account[0]}/cpuacct.usage_sys")
        per_cpu = tuple(int(word) for word in (read(f"{account[0]}/cpuacct.usage_percpu") or "").split())
        throttle = flat(f"{control[0]}/cpu.stat") if control else {}
        return CpuStats(
            usage, user, system, per_cpu, throttle.get("nr_periods", 0), throttle.get("nr_throttled", 0), throttle.get("throttled_time", 0)
        )
    if not layout.v2:
        return CpuStats()
    values = flat(f"{layout.v2}/cpu.stat")
    if "usage_usec" not in values:
        return CpuStats()
    return CpuStats(
        values["usage_usec"] * 1000,
        values.get("user_usec", 0) * 1000,
        values.get("system_usec", 0) * 1000,
        (),
        values.get("nr_periods", 0),
        values.get("nr_throttled", 0),
        values.get("throttled_usec", 0) * 1000,
        _pressure(f"{layout.v2}/cpu.pressure"),
    )


# -- memory ----------------------------------------------------------------------------------------------------------


def _memory(layout: Layout) -> MemoryStats:
    found = layout.controller("memory")
    if found is None:
        return MemoryStats()
    return _memory_v2(found[0]) if found[1] else _memory_v1(found[0])


def _v1_limit(path: str) -> int | None:
    value = number(path)
    return None if value is None or value >= _V1_UNLIMITED else value


def _memory_v1(path: str) -> MemoryStats:
    raw = flat(f"{path}/memory.stat")
    return MemoryStats(
        usage=number(f"{path}/memory.usage_in_bytes"),
        peak=number(f"{path}/memory.max_usage_in_bytes"),
        limit=_v1_limit(f"{path}/memory.limit_in_bytes"),
        fail_count=number(f"{path}/memory.failcnt") or 0,
        swap_usage=number(f"{path}/memory.memsw.usage_in_bytes"),
        swap_peak=number(f"{path}/memory.memsw.max_usage_in_bytes"),
        swap_limit=_v1_limit(f"{path}/memory.memsw.limit_in_bytes"),
        kernel_usage=number(f"{path}/memory.kmem.usage_in_bytes"),
        cache=raw.get("total_cache", raw.get("cache", 0)),
        inactive_file=raw.get("total_inactive_file", 0),
        oom_kills=flat(f"{path}/memory.oom_control").get("oom_kill", 0),
        raw=raw,
    )


def _memory_v2(path: str) -> MemoryStats:
    raw = flat(f"{path}/memory.stat")
    events = flat(f"{path}/memory.events")
    return MemoryStats(
        usage=number(f"{path}/memory.current"),
        peak=number(f"{path}/memory.peak"),
        limit=number(f"{path}/memory.max"),
        fail_count=events.get("max", 0),
        swap_usage=number(f"{path}/memory.swap.current"),
        swap_peak=number(f"{path}/memory.swap.peak"),
        swap_limit=number(f"{path}/memory.swap.max"),
        kernel_usage=raw.get("kernel"),
        cache=raw.get("file", 0),
        inactive_file=raw.get("inactive_file", 0),
        oom_kills=events.get("oom_kill", 0),
        raw=raw,
        pressure=_pressure(f"{path}/memory.pressure"),
    )


# -- others ----------------------------------------------------------------------------------------------------------


def _pids(layout: Layout) -> PidsStats:
    found = layout.controller("pids")
    if found is None:
        return PidsStats()
    path = found[0]
    return PidsStats(number(f"{path}/pids.current"), number(f"{path}/pids.peak"), number(f"{path}/pids.max"))


def _block(layout: Layout) -> tuple[BlockStats, ...]:
    found = layout.controller("blkio")
    if found is None:
        return ()
    values: dict[tuple[int, int], dict[str, int]] = {}
    if found[1]:
        for line in (read(f"{found[0]}/io.stat") or "").splitlines():
            device, *words = line.split()
            numbers = values.setdefault(_device(device), {})
            for word in words:
                key, _, value = word.partition("=")
                if value.isdigit():
                    numbers[key] = int(value)
    else:
        _block_v1(f"{found[0]}/blkio.throttle.io_service_bytes_recursive", "bytes", values)
        _block_v1(f"{found[0]}/blkio.throttle.io_serviced_recursive", "ios", values)
    return tuple(
        BlockStats(
            *device,
            *(numbers.get(key, 0) for key in ("rbytes", "wbytes", "rios", "wios", "dbytes", "dios")),
        )
        for device, numbers in sorted(values.items())
    )


def _device(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(":")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0)


def _block_v1(path: str, suffix: str, values: dict[tuple[int, int], dict[str, int]]) -> None:
    letters = {"Read": "r", "Write": "w", "Discard": "d"}
    for line in (read(path) or "").splitlines():
        words = line.split()
        if len(words) == 3 and words[1] in letters:
            values.setdefault(_device(words[0]), {})[letters[words[1]] + suffix] = int(words[2])


def _hugetlb(layout: Layout) -> tuple[HugetlbStats, ...]:
    found = layout.controller("hugetlb")
    if found is None:
        return ()
    path, v2 = found
    current = ".current" if v2 else ".usage_in_bytes"
    try:
        names = sorted(name for name in os.listdir(path) if name.startswith("hugetlb.") and name.endswith(current) and ".rsvd" not in name)
    except OSError:
        return ()
    stats = []
    for name in names:
        size = name[len("hugetlb.") : -len(current)]
        base = posixpath.join(path, f"hugetlb.{size}")
        usage = number(base + current) or 0
        if v2:
            stats.append(HugetlbStats(size, usage, None, flat(f"{base}.events").get("max", 0)))
        else:
            stats.append(HugetlbStats(size, usage, number(f"{base}.max_usage_in_bytes"), number(f"{base}.failcnt") or 0))
    return tuple(stats)


# -- limits ----------------------------------------------------------------------------------------------------------


def read_limits(layout: Layout) -> Limits:
    """The limits as the kernel keeps them, which may be rounded from what was asked."""
    memory, swap, reservation = _memory_limits(layout)
    quota, period, shares, weight = _cpu_limits(layout)
    cpuset = layout.controller("cpuset")
    pids = layout.controller("pids")
    return Limits(
        memory,
        swap,
        reservation,
        quota,
        period,
        shares,
        weight,
        (read(f"{cpuset[0]}/cpuset.cpus") or "").strip() if cpuset else "",
        (read(f"{cpuset[0]}/cpuset.mems") or "").strip() if cpuset else "",
        number(f"{pids[0]}/pids.max") if pids else None,
    )


def _memory_limits(layout: Layout) -> tuple[int | None, int | None, int | None]:
    found = layout.controller("memory")
    if found is None:
        return None, None, None
    path, v2 = found
    if not v2:
        files = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.soft_limit_in_bytes")
        limit, swap, reservation = (_v1_limit(f"{path}/{file}") for file in files)
        return limit, swap, reservation
    limit = number(f"{path}/memory.max")
    swap = number(f"{path}/memory.swap.max")
    both = None if limit is None or swap is None else limit + swap
    return limit, both, number(f"{path}/memory.low") or None


def _cpu_limits(layout: Layout) -> tuple[int | None, int | None, int | None, int | None]:
    """(quota, period, shares, weight)"""
    found = layout.controller("cpu")
    if found is None:
        return None, None, None, None
    path, v2 = found
    if not v2:
        quota = number(f"{path}/cpu.cfs_quota_us")
        return (None if quota is None or quota < 0 else quota), number(f"{path}/cpu.cfs_period_us"), number(f"{path}/cpu.shares"), None
    words = (read(f"{path}/cpu.max") or "").split()
    quota = int(words[0]) if words and words[0].isdigit() else None
    period = int(words[1]) if len(words) > 1 and words[1].isdigit() else None
    return quota, period, None, number(f"{path}/cpu.weight")

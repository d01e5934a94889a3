"""What a container uses, read from its cgroups in one go."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyrt.runtime.cgroup import files
from pyrt.runtime.cgroup.layout import Layout

__all__ = ["Cpu", "Hugetlb", "IoEntry", "Memory", "Stats", "read_stats"]

_HUGE_PREFIX = "hugetlb."


@dataclass(frozen=True, slots=True)
class Cpu:
    """Nanoseconds of CPU time; how often and how long the quota made it wait."""

    total: int = 0
    user: int = 0
    system: int = 0
    per_cpu: tuple[int, ...] = ()
    periods: int = 0
    throttled_periods: int = 0
    throttled_time: int = 0


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. ``limit`` 2**64-1: none. ``raw`` is memory.stat as it is."""

    usage: int = 0
    peak: int = 0
    limit: int = 0
    fail_count: int = 0
    swap_usage: int = 0
    swap_limit: int = 0
    kernel_usage: int = 0
    cache: int = 0
    oom_kills: int = 0
    raw: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class IoEntry:
    """One number of one device: ``op`` is "Read" or "Write"."""

    major: int
    minor: int
    op: str
    value: int


@dataclass(frozen=True, slots=True)
class Hugetlb:
    """Huge pages of one size, in bytes."""

    usage: int
    peak: int
    fail_count: int


@dataclass(frozen=True, slots=True)
class Stats:
    """Everything at one moment. ``pids_limit`` 0: none."""

    cpu: Cpu = Cpu()
    memory: Memory = Memory()
    pids: int = 0
    pids_limit: int = 0
    io_bytes: tuple[IoEntry, ...] = ()
    io_operations: tuple[IoEntry, ...] = ()
    hugetlb: dict[str, Hugetlb] = field(default_factory=dict)


def read_stats(layout: Layout, pids: int = 0) -> Stats:
    """Reads all of it. ``pids`` is how many processes were seen, where no controller counts them."""
    io_bytes, io_operations = _io(layout)
    limit = _dir(layout, "pids")
    maximum = files.number(f"{limit}/pids.max") if limit else 0
    return Stats(
        cpu=_cpu(layout),
        memory=_memory(layout),
        pids=files.number(f"{limit}/pids.current", pids) if limit else pids,
        pids_limit=0 if maximum >= 1 << 63 else maximum,
        io_bytes=io_bytes,
        io_operations=io_operations,
        hugetlb=_hugetlb(layout),
    )


def _dir(layout: Layout, controller: str) -> str:
    found = layout.controller(controller)
    return found[0] if found else ""


def _cpu(layout: Layout) -> Cpu:
    account, quota = layout.controller("cpuacct"), layout.controller("cpu")
    if account and not account[1]:
        throttle = files.table(f"{quota[0]}/cpu.stat") if quota else {}
        return Cpu(
            total=files.number(f"{account[0]}/cpuacct.usage"),
            user=files.number(f"{account[0]}/cpuacct.usage_user"),
            system=files.number(f"{account[0]}/cpuacct.usage_sys"),
            per_cpu=tuple(int(word) for word in (files.read(f"{account[0]}/cpuacct.usage_percpu") or "").split()),
            periods=throttle.get("nr_periods", 0),
            throttled_periods=throttle.get("nr_throttled", 0),
            throttled_time=throttle.get("throttled_time", 0),
        )
    stat = files.table(f"{layout.v2}/cpu.stat") if layout.v2 else {}
    return Cpu(
        total=stat.get("usage_usec", 0) * 1000,
        user=stat.get("user_usec", 0) * 1000,
        system=stat.get("system_usec", 0) * 1000,
        periods=stat.get("nr_periods", 0),
        throttled_periods=stat.get("nr_throttled", 0),
        throttled_time=stat.get("throttled_usec", 0) * 1000,
    )


def _memory(layout: Layout) -> Memory:
    found = layout.controller("memory")
    if found is None:
        return Memory()
    at, v2 = found
    raw = files.table(f"{at}/memory.stat")
    if not v2:
        return Memory(
            usage=files.number(f"{at}/memory.usage_in_bytes"),
            peak=files.number(f"{at}/memory.max_usage_in_bytes"),
            limit=files.number(f"{at}/memory.limit_in_bytes"),
            fail_count=files.number(f"{at}/memory.failcnt"),
            swap_usage=files.number(f"{at}/memory.memsw.usage_in_bytes"),
            swap_limit=files.number(f"{at}/memory.memsw.limit_in_bytes"),
            kernel_usage=files.number(f"{at}/memory.kmem.usage_in_bytes"),
            cache=raw.get("cache", 0),
            oom_kills=files.table(f"{at}/memory.oom_control").get("oom_kill", 0),
            raw=raw,
        )
    events = files.table(f"{at}/memory.events")
    return Memory(
        usage=files.number(f"{at}/memory.current"),
        peak=files.number(f"{at}/memory.peak"),
        limit=files.number(f"{at}/memory.max"),
        fail_count=events.get("max", 0),
        swap_usage=files.number(f"{at}/memory.swap.current"),
        swap_limit=files.number(f"{at}/memory.swap.max"),
        kernel_usage=raw.get("kernel", 0),
        cache=raw.get("file", 0),
        oom_kills=events.get("oom_kill", 0),
        raw=raw,
    )


def _io(layout: Layout) -> tuple[tuple[IoEntry, ...], tuple[IoEntry, ...]]:
    found = layout.controller("blkio")
    if found is None:
        return (), ()
    at, v2 = found
    if v2:
        return _io_v2(files.lines(f"{at}/io.stat"))
    return (
        _io_v1(files.lines(f"{at}/blkio.throttle.io_service_bytes_recursive")),
        _io_v1(files.lines(f"{at}/blkio.throttle.io_serviced_recursive")),
    )


def _io_v1(lines: list[list[str]]) -> tuple[IoEntry, ...]:
    found = []
    for words in lines:
        if len(words) == 3 and words[1] in ("Read", "Write"):
            major, _, minor = words[0].partition(":")
            found.append(IoEntry(int(major), int(minor), words[1], int(words[2])))
    return tuple(found)


def _io_v2(lines: list[list[str]]) -> tuple[tuple[IoEntry, ...], tuple[IoEntry, ...]]:
    moved, operations = [], []
    for device, *pairs in lines:
        major, _, minor = device.partition(":")
        values = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        for op, size, count in (("Read", "rbytes", "rios"), ("Write", "wbytes", "wios")):
            moved.append(IoEntry(int(major), int(minor), op, int(values.get(size, 0))))
            operations.append(IoEntry(int(major), int(minor), op, int(values.get(count, 0))))
    return tuple(moved), tuple(operations)


def _hugetlb(layout: Layout) -> dict[str, Hugetlb]:
    import os

    found = layout.controller("hugetlb")
    if found is None or not os.path.isdir(found[0]):
        return {}
    at, v2 = found
    current = ".current" if v2 else ".usage_in_bytes"
    sizes = {name[len(_HUGE_PREFIX) : -len(current)] for name in os.listdir(at) if name.startswith(_HUGE_PREFIX) and name.endswith(current)}
    result = {}
    for size in sorted(size for size in sizes if not size.endswith(".rsvd")):
        base = f"{at}/{_HUGE_PREFIX}{size}"
        if v2:
            failed = files.table(f"{base}.events").get("max", 0)
            result[size] = Hugetlb(files.number(f"{base}.current"), 0, failed)
        else:
            peak = files.number(f"{base}.max_usage_in_bytes")
            result[size] = Hugetlb(files.number(f"{base}.usage_in_bytes"), peak, files.number(f"{base}.failcnt"))
    return result

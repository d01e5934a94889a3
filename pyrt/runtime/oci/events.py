"""events: what a container uses, as runc's JSON has it, and a word when it has run out of memory."""

from __future__ import annotations

import dataclasses
import os
import select
import time
from collections.abc import Iterator
from typing import Any

from pyrt.runtime.cgroup.stats import BlockStats, Stats
from pyrt.runtime.oci.container import Container

__all__ = ["from_stats", "statistics", "watch"]

_LOOK_EVERY = 0.25  # seconds between two looks at whether it still runs, and at v1's count of OOM kills


def statistics(container: Container) -> dict[str, Any]:
    """The container's numbers at this moment."""
    return from_stats(container.cgroup.stats())


def from_stats(stats: Stats) -> dict[str, Any]:
    """runc's `Stats` object (types/events.go): containerd and others read these names."""
    cpu, memory = stats.cpu, stats.memory
    usage: dict[str, Any] = {"total": cpu.usage or 0, "kernel": cpu.system or 0, "user": cpu.user or 0}
    if cpu.per_cpu:
        usage["percpu"] = list(cpu.per_cpu)
    throttling = {
        "periods": cpu.periods,
        "throttledPeriods": cpu.throttled_periods,
        "throttledTime": cpu.throttled_time,
    }
    document: dict[str, Any] = {
        "cpu": {"usage": usage, "throttling": throttling},
        "memory": {
            "cache": memory.cache,
            "usage": _entry(_limit(memory.limit), memory.usage, memory.peak, memory.fail_count),
            "swap": _entry(_limit(memory.swap_limit), memory.swap_usage, memory.swap_peak, 0),
            "kernel": _entry(0, memory.kernel_usage, 0, 0),
            "kernelTCP": _entry(0, 0, 0, 0),
            "raw": memory.raw,
        },
        "pids": {"current": stats.pids.current or 0, "limit": stats.pids.limit or 0},
        "blkio": {
            "ioServiceBytesRecursive": [e for b in stats.block for e in _io(b, b.read_bytes, b.write_bytes)],
            "ioServicedRecursive": [e for b in stats.block for e in _io(b, b.read_ops, b.write_ops)],
        },
        "hugetlb": {h.size: {"usage": h.usage, "max": h.peak or 0, "failcnt": h.fail_count} for h in stats.hugetlb},
        "intel_rdt": {},
        "network_interfaces": None,
    }
    for part, pressure in (("cpu", cpu.pressure), ("memory", memory.pressure), ("blkio", stats.io_pressure)):
        if pressure:
            document[part]["psi"] = {kind: dataclasses.asdict(line) for kind, line in pressure.items()}
    return document


def _limit(value: int | None) -> int:
    """No limit is the largest number, as the kernel (v1) and runc (v2) say it."""
    return (1 << 64) - 1 if value is None else value


def _entry(limit: int, usage: int | None, peak: int | None, failures: int) -> dict[str, int]:
    return {"limit": limit, "usage": usage or 0, "max": peak or 0, "failcnt": failures}


def _io(block: BlockStats, read: int, written: int) -> list[dict[str, Any]]:
    device = {"major": block.major, "minor": block.minor}
    return [{**device, "op": "Read", "value": read}, {**device, "op": "Write", "value": written}]


def watch(container: Container, interval: float) -> Iterator[dict[str, Any]]:
    """Until the container ends: statistics every `interval` seconds, and an "oom" event for every kill as it
    happens.
    """
    kills = container.cgroup.oom_kills()
    following = time.monotonic() + interval
    with _Bell(container) as bell:
        while container.init_is_alive():
            left = following - time.monotonic()
            if left <= 0:
                yield {"type": "stats", "id": container.id, "data": statistics(container)}
                following += interval
                continue
            bell.wait(min(left, _LOOK_EVERY))
            now = container.cgroup.oom_kills()
            for _ in range(kills, now):
                yield {"type": "oom", "id": container.id}
            kills = max(kills, now)


class _Bell:
    """Rings when v2's memory.events changes (cgroup-v2.rst: a poll event); on v1 it only lets time pass."""

    def __init__(self, container: Container) -> None:
        self._poll = select.poll()
        self._fd = -1
        memory = container.cgroup.layout.controller("memory")
        if memory is not None and memory[1]:
            try:
                self._fd = os.open(f"{memory[0]}/memory.events", os.O_RDONLY | os.O_CLOEXEC)
                self._poll.register(self._fd, select.POLLPRI)
            except OSError:
                self._fd = -1

    def __enter__(self) -> _Bell:
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def wait(self, seconds: float) -> None:
        if self._fd >= 0:
            os.pread(self._fd, 4096, 0)
        self._poll.poll(seconds * 1000)

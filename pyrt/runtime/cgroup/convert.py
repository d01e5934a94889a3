"""Limits in the units of cgroup v1, in which the OCI specification has them, as cgroup v2 wants them. Same formulas as runc and crun."""

from __future__ import annotations

from pyrt.base.errors import InvalidSpec

__all__ = ["cpu_max", "cpu_weight", "io_weight", "memory_swap"]

DEFAULT_PERIOD = 100_000
"""The kernel's CPU period in microseconds."""


def cpu_weight(shares: int) -> int:
    """cpu.weight (1 to 10000) of cpu.shares (2 to 262144): a straight line between the two ranges."""
    shares = min(max(shares, 2), 262_144)
    return 1 + (shares - 2) * 9999 // 262_142


def io_weight(weight: int) -> int:
    """io.weight (1 to 10000) of blkio.weight (10 to 1000): a straight line between the two ranges."""
    weight = min(max(weight, 10), 1000)
    return 1 + (weight - 10) * 9999 // 990


def cpu_max(quota: int | None, period: int | None) -> str:
    """The line for cpu.max; a quota of 0 or less is no limit."""
    return f"{quota if quota and quota > 0 else 'max'} {period or DEFAULT_PERIOD}"


def memory_swap(swap: int, memory: int | None, path: str = "linux.resources.memory.swap") -> int | None:
    """memory.swap.max of v1's memory+swap limit (-1: no limit); None when it is not to be set. Raises InvalidSpec."""
    if swap == 0:
        return None
    if swap < 0:
        return -1
    if memory is None or memory <= 0:
        raise InvalidSpec("a limit of memory plus swap needs a memory limit", path)
    if swap < memory:
        raise InvalidSpec(f"memory plus swap ({swap}) is less than the memory limit ({memory})", path)
    return swap - memory

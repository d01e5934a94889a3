"""Checks of everything that bounds or places a process: rlimits, scheduling, memory policy, cgroup resources.

A part of `validate`, apart because `exec` and `update` need it without a whole configuration.
"""

from __future__ import annotations

import os
import re

import msgspec

from pyrt.base.errors import InvalidSpec, Unsupported
from pyrt.model import oci

RLIMITS: tuple[str, ...] = tuple(
    "RLIMIT_" + name
    for name in (
        *("AS", "CORE", "CPU", "DATA", "FSIZE", "LOCKS", "MEMLOCK", "MSGQUEUE", "NICE", "NOFILE", "NPROC", "RSS"),
        *("RTPRIO", "RTTIME", "SIGPENDING", "STACK"),
    )
)
SCHEDULER_POLICIES: tuple[str, ...] = (
    "SCHED_OTHER",
    "SCHED_FIFO",
    "SCHED_RR",
    "SCHED_BATCH",
    "SCHED_ISO",
    "SCHED_IDLE",
    "SCHED_DEADLINE",
)
SCHEDULER_FLAGS: tuple[str, ...] = tuple(
    "SCHED_FLAG_" + name
    for name in (*("RESET_ON_FORK", "RECLAIM", "DL_OVERRUN", "KEEP_POLICY", "KEEP_PARAMS", "UTIL_CLAMP_MIN", "UTIL_CLAMP_MAX"),)
)
MEMORY_MODES: tuple[str, ...] = tuple(
    "MPOL_" + name for name in ("DEFAULT", "BIND", "INTERLEAVE", "WEIGHTED_INTERLEAVE", "PREFERRED", "PREFERRED_MANY", "LOCAL")
)
MEMORY_FLAGS: tuple[str, ...] = ("MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES")

_LIST = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")


def validate_process_limits(process: oci.Process, where: str) -> None:
    """rlimits, OOM score, scheduler, I/O priority and CPU affinity of a process. Raises InvalidSpec."""
    _rlimits(process.rlimits, where)
    score = process.oom_score_adj
    if score is not None and not -1000 <= score <= 1000:
        raise InvalidSpec(f"{where}.oomScoreAdj: {score} is not between -1000 and 1000")
    if process.scheduler is not None:
        _scheduler(process.scheduler, f"{where}.scheduler")
    if process.io_priority is not None:
        _io_priority(process.io_priority, f"{where}.ioPriority")
    if process.exec_cpu_affinity is not None:
        for name in ("initial", "final"):
            cpus = getattr(process.exec_cpu_affinity, name)
            if cpus and not _LIST.fullmatch(cpus):
                raise InvalidSpec(f'{where}.execCPUAffinity.{name}: "{cpus}" is not a list of CPUs')


def _rlimits(rlimits: tuple[oci.Rlimit, ...], where: str) -> None:
    seen = set()
    for index, limit in enumerate(rlimits):
        here = f"{where}.rlimits[{index}]"
        if limit.type not in RLIMITS:
            raise InvalidSpec(f'{here}.type: wrong rlimit value: "{limit.type}"')
        if limit.type in seen:
            raise InvalidSpec(f"{here}.type: {limit.type} is given twice")
        seen.add(limit.type)
        if max(limit.soft, limit.hard) >= 1 << 64:
            raise InvalidSpec(f"{here}: a value does not fit in 64 bits")
        if limit.soft > limit.hard:
            raise InvalidSpec(f"{here}: the soft limit {limit.soft} is above the hard limit {limit.hard}")


def _scheduler(scheduler: oci.Scheduler, where: str) -> None:
    """sched_setattr(2)."""
    policy = scheduler.policy
    if policy not in SCHEDULER_POLICIES:
        raise InvalidSpec(f'{where}.policy: "{policy}" is not a scheduling policy')
    if policy in ("SCHED_OTHER", "SCHED_BATCH") and not -20 <= scheduler.nice <= 19:
        raise InvalidSpec(f"{where}.nice: invalid scheduler.nice: {scheduler.nice} when scheduler.policy is {policy}")
    if scheduler.priority and policy not in ("SCHED_FIFO", "SCHED_RR"):
        raise InvalidSpec(f"{where}.priority: can only be specified for SCHED_FIFO or SCHED_RR policy")
    if policy != "SCHED_DEADLINE" and (scheduler.runtime or scheduler.deadline or scheduler.period):
        raise InvalidSpec(f"{where}: runtime, deadline and period can only be specified for SCHED_DEADLINE policy")
    for flag in scheduler.flags:
        if flag not in SCHEDULER_FLAGS:
            raise InvalidSpec(f'{where}.flags: unknown flag "{flag}"')
    _fits(scheduler, where)


def _io_priority(priority: oci.IOPriority, where: str) -> None:
    """ioprio_set(2)."""
    if priority.class_ not in ("IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"):
        raise InvalidSpec(f'{where}.class: invalid ioPriority.Class: "{priority.class_}"')
    if not 0 <= priority.priority <= 7:
        raise InvalidSpec(f"{where}.priority: invalid ioPriority.Priority: {priority.priority}")


def validate_memory_policy(policy: oci.LinuxMemoryPolicy | None) -> None:
    """set_mempolicy(2). Raises InvalidSpec."""
    if policy is None:
        return
    where = "$.linux.memoryPolicy"
    if policy.mode not in MEMORY_MODES:
        raise InvalidSpec(f'{where}.mode: invalid memory policy mode "{policy.mode}"')
    for flag in policy.flags:
        if flag not in MEMORY_FLAGS:
            raise InvalidSpec(f'{where}.flags: invalid memory policy flag "{flag}"')
    if policy.nodes and not _LIST.fullmatch(policy.nodes):
        raise InvalidSpec(f'{where}.nodes: "{policy.nodes}" is not a list of nodes')
    if policy.mode in ("MPOL_DEFAULT", "MPOL_LOCAL"):
        if policy.nodes:
            raise InvalidSpec(f"{where}.nodes: {policy.mode} takes no nodes")
    elif policy.mode != "MPOL_PREFERRED" and not policy.nodes:
        raise InvalidSpec(f"{where}.nodes: {policy.mode} needs at least one node")


def validate_resources(resources: oci.LinuxResources, where: str = "$.linux.resources") -> None:
    """Limits that make no sense on any kernel, and controllers that this one lacks. Raises InvalidSpec or
    Unsupported.
    """
    for index, rule in enumerate(resources.devices):
        if rule.type not in ("", "a", "b", "c"):
            raise InvalidSpec(f'{where}.devices[{index}].type: invalid device type "{rule.type}" (a, b or c)')
        if not set(rule.access) <= set("rwm"):
            raise InvalidSpec(f'{where}.devices[{index}].access: "{rule.access}" has more than r, w and m in it')
        for number in (rule.major, rule.minor):
            if number is not None and not -1 <= number < 1 << 32:
                raise InvalidSpec(f"{where}.devices[{index}]: {number} is not a device number")
    for part in ("memory", "cpu", "pids", "block_io", "network"):
        _fits(getattr(resources, part), f"{where}.{part}")
    if resources.memory is not None:
        _memory(resources.memory, f"{where}.memory")
    if resources.cpu is not None:
        for name, text in (("cpus", resources.cpu.cpus), ("mems", resources.cpu.mems)):
            if text and not re.fullmatch(r"[0-9,\- \n]+", text):
                raise InvalidSpec(f'{where}.cpu.{name}: "{text}" is not a list of numbers')
    if resources.block_io is not None:
        _block_io(resources.block_io, f"{where}.blockIO")
    for index, page in enumerate(resources.hugepage_limits):
        if not re.fullmatch(r"[1-9][0-9]*[KMG]B", page.page_size):
            raise InvalidSpec(f'{where}.hugepageLimits[{index}].pageSize: "{page.page_size}" is not a size as "2MB"')
        _fits(page, f"{where}.hugepageLimits[{index}]")
    for key in resources.unified:
        if "/" in key or key in ("", ".", ".."):
            raise InvalidSpec(f'{where}.unified: "{key}" is not the name of a file of a cgroup')
    if resources.rdma and not _has_rdma():
        raise Unsupported(f"{where}.rdma: this kernel has no rdma controller")


def _memory(memory: oci.LinuxMemory, where: str) -> None:
    for name in ("limit", "reservation", "swap", "kernel", "kernel_tcp"):
        value = getattr(memory, name)
        if value is not None and value < -1:
            raise InvalidSpec(f"{where}.{name}: {value} is less than -1 (no limit)")
    if memory.swappiness is not None and memory.swappiness > 100:
        raise InvalidSpec(f"{where}.swappiness: invalid memory swappiness value: {memory.swappiness} (0 to 100)")
    if memory.swap is not None and memory.swap > 0 and memory.limit is not None and memory.limit > memory.swap:
        raise InvalidSpec(f"{where}.swap: memory and swap together ({memory.swap}) are less than memory ({memory.limit})")


def _block_io(block_io: oci.LinuxBlockIO, where: str) -> None:
    weights = [("weight", block_io.weight), ("leafWeight", block_io.leaf_weight)]
    weights += [(f"weightDevice[{i}].weight", d.weight) for i, d in enumerate(block_io.weight_device)]
    for name, weight in weights:
        if weight and not 10 <= weight <= 1000:
            raise InvalidSpec(f"{where}.{name}: {weight} is not between 10 and 1000")


def _fits(value: object, where: str) -> None:
    """Unsigned 64 bit numbers that are larger: the only range that the decoder cannot see to."""
    if not isinstance(value, msgspec.Struct):
        return
    for name in value.__struct_fields__:
        number = getattr(value, name)
        if isinstance(number, int) and number >= 1 << 64:
            raise InvalidSpec(f"{where}.{name}: {number} does not fit in 64 bits")
        if isinstance(number, tuple):
            for index, item in enumerate(number):
                _fits(item, f"{where}.{name}[{index}]")


def _has_rdma() -> bool:
    return any(os.path.isdir(path) for path in ("/sys/fs/cgroup/rdma", "/sys/class/infiniband")) or "rdma" in _v2_controllers(
        "/sys/fs/cgroup/cgroup.controllers"
    )


def _v2_controllers(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().split()
    except OSError:
        return []

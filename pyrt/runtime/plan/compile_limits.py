"""What a process may use and how it is scheduled: rlimits, OOM score, scheduler, priorities, memory policy."""

from __future__ import annotations

import struct

from pyrt.base.errors import InvalidSpec
from pyrt.model import oci
from pyrt.runtime.plan import constants as k
from pyrt.runtime.plan import ops
from pyrt.runtime.plan.build import Build

__all__ = ["compile_scheduling", "final_limits", "needs_rights", "raise_limits"]


def needs_rights(process: oci.Process) -> bool:
    """Whether limits or the OOM score need rights over the whole machine, which a user namespace does not give."""
    if process.oom_score_adj is not None and process.oom_score_adj < 0:
        return True
    return any(_raises(limit) for limit in process.rlimits)


def _raises(limit: oci.Rlimit) -> bool:
    """Above the hard limit that we, and so the executor, have ourselves."""
    number = k.RLIMITS.get(limit.type)
    if number is None:
        return False
    import resource

    own = resource.getrlimit(number)[1]
    return own != resource.RLIM_INFINITY and limit.hard > own


def raise_limits(build: Build, process: oci.Process) -> None:
    """The OOM score, and hard limits that are raised. Lower ones wait: they could hinder what the runtime still has to do."""
    if process.oom_score_adj is not None:
        build.after.append(ops.oom_score(process.oom_score_adj, build.why("process.oomScoreAdj")))
    for index, limit in enumerate(process.rlimits):
        number = _number(limit, index)
        if _raises(limit):
            build.after.append(ops.rlimit(number, limit.hard, limit.hard, build.why(f"process.rlimits[{index}]")))


def final_limits(build: Build, process: oci.Process) -> None:
    """Resource limits as the program shall have them."""
    for index, limit in enumerate(process.rlimits):
        build.after.append(ops.rlimit(_number(limit, index), limit.soft, limit.hard, build.why(f"process.rlimits[{index}]")))


def _number(limit: oci.Rlimit, index: int) -> int:
    path = f"process.rlimits[{index}]"
    number = k.RLIMITS.get(limit.type)
    if number is None:
        raise InvalidSpec(f"{limit.type!r} is no resource limit, as RLIMIT_NOFILE", f"{path}.type")
    if limit.soft > limit.hard:
        raise InvalidSpec(f"the soft limit {limit.soft} is above the hard limit {limit.hard}", path)
    return number


def compile_scheduling(build: Build, process: oci.Process) -> None:
    """Scheduler, I/O priority and memory policy."""
    if process.scheduler is not None:
        build.after.append(ops.scheduler(_sched_attr(process.scheduler), build.why("process.scheduler")))
    if process.io_priority is not None:
        build.after.append(ops.ioprio(_ioprio(process.io_priority), build.why("process.ioPriority")))
    policy = build.linux.memory_policy
    if policy is not None:
        mode, nodes = _memory_policy(policy)
        build.after.append(ops.mempolicy(mode, nodes, len(nodes) * 8, build.why("linux.memoryPolicy")))


def _sched_attr(scheduler: oci.Scheduler) -> bytes:
    """struct sched_attr, version 0 (sched_setattr(2))."""
    policy = k.SCHEDULERS.get(scheduler.policy)
    if policy is None:
        raise InvalidSpec(f"{scheduler.policy!r} is no scheduling policy, as SCHED_BATCH", "process.scheduler.policy")
    flags = 0
    for index, name in enumerate(scheduler.flags):
        if name not in k.SCHEDULER_FLAGS:
            raise InvalidSpec(f"{name!r} is no flag of a scheduler", f"process.scheduler.flags[{index}]")
        flags |= k.SCHEDULER_FLAGS[name]
    if scheduler.priority < 0:
        raise InvalidSpec(f"{scheduler.priority} is no priority", "process.scheduler.priority")
    times = (scheduler.runtime, scheduler.deadline, scheduler.period)
    return struct.pack("=IIQiIQQQ", 48, policy, flags, scheduler.nice, scheduler.priority, *times)


def _ioprio(priority: oci.IOPriority) -> int:
    number = k.IOPRIO_CLASSES.get(priority.class_)
    if number is None:
        raise InvalidSpec(f"{priority.class_!r} is none of {', '.join(k.IOPRIO_CLASSES)}", "process.ioPriority.class")
    if not 0 <= priority.priority <= 7:
        raise InvalidSpec(f"{priority.priority} is not from 0 to 7", "process.ioPriority.priority")
    return number << k.IOPRIO_SHIFT | priority.priority


def _memory_policy(policy: oci.LinuxMemoryPolicy) -> tuple[int, bytes]:
    mode = k.MPOL_MODES.get(policy.mode)
    if mode is None:
        raise InvalidSpec(f"{policy.mode!r} is no memory policy, as MPOL_BIND", "linux.memoryPolicy.mode")
    for index, name in enumerate(policy.flags):
        if name not in k.MPOL_FLAGS:
            raise InvalidSpec(f"{name!r} is no flag of a memory policy", f"linux.memoryPolicy.flags[{index}]")
        mode |= k.MPOL_FLAGS[name]
    from pyrt.base.units import parse_list

    mask = 0
    for node in parse_list(policy.nodes) if policy.nodes else ():
        if node >= 1024:
            raise InvalidSpec(f"node {node} is above 1023", "linux.memoryPolicy.nodes")
        mask |= 1 << node
    return mode, mask.to_bytes((mask.bit_length() + 63) // 64 * 8, "little") if mask else b""

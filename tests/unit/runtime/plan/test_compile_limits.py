from __future__ import annotations

import resource
import struct

import pytest

from pyrt import native as n
from pyrt.base.errors import InvalidSpec
from pyrt.model import oci
from tests.unit.runtime.plan.kit import compiled, find, make_spec, namespaces, one, order


def limit(soft: int, hard: int, type_: str = "RLIMIT_NOFILE") -> oci.Rlimit:
    return oci.Rlimit(type=type_, soft=soft, hard=hard)


def test_low_limits_wait_until_the_runtime_needs_nothing_any_more() -> None:
    plan = compiled(make_spec(process={"rlimits": (limit(6, 6),)}))
    op = one(plan, n.OP_RLIMIT)
    assert op.n == (resource.RLIMIT_NOFILE, 6, 6) and op.why == "process.rlimits[0]"
    assert order(plan, n.OP_SETID, n.OP_FIND_EXEC, n.OP_RLIMIT, n.OP_EXEC)


def test_hard_limits_are_raised_while_there_is_the_right_to() -> None:
    own = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if own == resource.RLIM_INFINITY:
        pytest.skip("there is no limit here that could be raised")
    plan = compiled(make_spec(process={"rlimits": (limit(10, own + 1),)}))
    assert [op.n[1:] for op in find(plan, n.OP_RLIMIT)] == [(own + 1, own + 1), (10, own + 1)]
    assert order(plan, n.OP_RLIMIT, n.OP_CAPS)


def test_limits_that_make_no_sense() -> None:
    with pytest.raises(InvalidSpec, match=r"process.rlimits\[0\].*above the hard"):
        compiled(make_spec(process={"rlimits": (limit(7, 6),)}))
    with pytest.raises(InvalidSpec, match="RLIMIT_X"):
        compiled(make_spec(process={"rlimits": (limit(1, 1, "RLIMIT_X"),)}))


def test_scheduling() -> None:
    process = {
        "scheduler": oci.Scheduler(policy="SCHED_DEADLINE", flags=("SCHED_FLAG_RECLAIM",), runtime=1, deadline=2, period=3, nice=-5),
        "io_priority": oci.IOPriority(class_="IOPRIO_CLASS_BE", priority=4),
        "oom_score_adj": -100,
    }
    plan = compiled(make_spec(process=process))
    raw = one(plan, n.OP_SCHEDULER).s[0]
    assert isinstance(raw, bytes)
    assert struct.unpack("=IIQiIQQQ", raw) == (48, 6, 2, -5, 0, 1, 2, 3)
    assert one(plan, n.OP_IOPRIO).n == (2 << 13 | 4,)
    assert one(plan, n.OP_OOM_SCORE).n == ((1 << 64) - 100,)
    assert order(plan, n.OP_SCHEDULER, n.OP_SETID)


@pytest.mark.parametrize(
    "process",
    [
        {"scheduler": oci.Scheduler(policy="SCHED_ODD")},
        {"scheduler": oci.Scheduler(policy="SCHED_OTHER", flags=("ODD",))},
        {"scheduler": oci.Scheduler(policy="SCHED_FIFO", priority=-1)},
        {"io_priority": oci.IOPriority(class_="ODD")},
        {"io_priority": oci.IOPriority(class_="IOPRIO_CLASS_RT", priority=8)},
    ],
)
def test_nonsense_is_refused(process: dict[str, object]) -> None:
    with pytest.raises(InvalidSpec, match="process"):
        compiled(make_spec(process=process))


def test_memory_policy() -> None:
    policy = oci.LinuxMemoryPolicy(mode="MPOL_BIND", nodes="0-1,65", flags=("MPOL_F_STATIC_NODES",))
    op = one(compiled(make_spec(linux={"namespaces": namespaces(), "memory_policy": policy})), n.OP_MEMPOLICY)
    assert op.n == (2 | 1 << 15, 128)
    assert int.from_bytes(bytes(op.s[0]), "little") == 3 | 1 << 65  # type: ignore[arg-type]
    with pytest.raises(InvalidSpec, match="MPOL_ODD"):
        compiled(make_spec(linux={"namespaces": namespaces(), "memory_policy": oci.LinuxMemoryPolicy(mode="MPOL_ODD")}))

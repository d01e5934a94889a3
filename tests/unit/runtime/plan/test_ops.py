from __future__ import annotations

import inspect

import pytest

from pyrt import native as n
from pyrt.base.errors import InvalidRequest
from pyrt.runtime.plan import ops
from pyrt.runtime.plan.ops import Op, Plan, pack_list


def test_every_op_of_the_header_has_a_constructor() -> None:
    made = set()
    for name, function in inspect.getmembers(ops, inspect.isfunction):
        if name.startswith("_") or name == "pack_list" or function.__module__ != ops.__name__:
            continue
        arguments = []
        for parameter in inspect.signature(function).parameters.values():
            if parameter.default is not inspect.Parameter.empty:
                continue
            kind = str(parameter.annotation)
            value: object = b"" if kind == "bytes" else "x" if "str" in kind and "Sequence" not in kind else () if "Sequence" in kind else 1
            if kind == "Text":
                value = "x"
            arguments.append((parameter, value))
        positional = [value for parameter, value in arguments if parameter.kind is not parameter.KEYWORD_ONLY]
        named = {parameter.name: value for parameter, value in arguments if parameter.kind is parameter.KEYWORD_ONLY}
        made.add(function(*positional, **named).code)
    known = {
        getattr(n, name)
        for name in dir(n)
        if name.startswith("OP_") and name not in ("OP_NONE", "OP_CODES", "OP_SIZE", "OP_STRINGS", "OP_NUMBERS")
    }
    assert known == made


def test_lists_are_packed_as_in_proc_cmdline() -> None:
    assert pack_list(["a", "", b"c"]) == b"a\0\0c\0"
    assert pack_list([]) == b""


def test_a_nul_in_a_list_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="NUL"):
        pack_list(["good", "ba\0d"])


def test_lengths_stand_where_the_header_wants_them() -> None:
    op = ops.execve(["sh", "-c", "x"], ["A=1"])
    assert op.n == (len(b"sh\0-c\0x\0"), len(b"A=1\0"))
    assert ops.write("/f", "ä").n == (2, 0)
    assert ops.setid(1, 2, (3, 4)).n == (1, 2, 8, 0)
    assert ops.mount("a", "/b", "c", ["x=1"], 7, mode=0o1777).n == (7, 0, n.AT_ROOT, 4, 0o1777)


def test_negative_numbers_become_two_s_complement() -> None:
    assert ops.oom_score(-1000).n == ((1 << 64) - 1000,)
    assert ops.nice(-5).n == ((1 << 64) - 5,)


def test_variants_of_an_op() -> None:
    op = ops.cgroup_kill("/x", "why")
    assert op.at_exit().flags == n.F_AT_EXIT
    assert op.optional().flags == n.F_OPTIONAL
    assert op.optional().at_exit().flags == n.F_OPTIONAL | n.F_AT_EXIT
    assert ops.mask("/x").on_host().side == n.HOST
    assert op.at_exit().why == "why"


def test_ops_and_plans_are_values() -> None:
    assert ops.setsid() == Op(n.OP_SETSID, n.CONTAINER, (), ())
    assert len({Plan((ops.setsid(),)), Plan((ops.setsid(),))}) == 1

from __future__ import annotations

from pyrt.runtime.plan.options import CompileOptions, JoinTarget


def test_an_id_is_all_that_is_needed() -> None:
    options = CompileOptions(id="x")
    assert options.controllers == "all" and options.cgroup_path is None and not options.foreground


def test_a_target_is_a_value() -> None:
    assert JoinTarget(5, ("pid",)) == JoinTarget(5, ("pid",), (), "")

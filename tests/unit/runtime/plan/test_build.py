from __future__ import annotations

import json

import pytest

from pyrt import native as n
from pyrt.base.errors import InvalidSpec
from pyrt.model import oci
from pyrt.runtime.plan.build import Build, inside, state_json
from pyrt.runtime.plan.options import CompileOptions
from tests.unit.runtime.plan.kit import V2, make_spec


def test_slots_of_the_caller_come_first() -> None:
    build = Build(make_spec(), V2, CompileOptions(id="x", preserve_fds=2, fd_base_slot=1, console_slot=0))
    assert build.new_slot() == 3
    assert build.plan().slots == 3
    assert Build(make_spec(), V2, CompileOptions(id="x")).new_slot() == 0


def test_slots_run_out_with_one_clear_line() -> None:
    build = Build(make_spec(), V2, CompileOptions(id="x"))
    for _ in range(n.SLOTS):
        build.new_slot()
    with pytest.raises(InvalidSpec, match="open files"):
        build.new_slot()


def test_paths_stay_inside() -> None:
    assert inside("a/../../b") == "/b"
    assert inside("//x/./y/") == "/x/y"
    assert inside("") == "/"


def test_the_state_is_json_around_the_pid() -> None:
    spec = make_spec(annotations={"a": 'quote "'})
    before, after = state_json(spec, "id1", "/bundle", "creating")
    state = json.loads(before + "42" + after)
    assert state == {
        "ociVersion": "1.2.0",
        "id": "id1",
        "status": "creating",
        "pid": 42,
        "bundle": "/bundle",
        "annotations": {"a": 'quote "'},
    }
    assert isinstance(spec, oci.Spec)

"""The corpus of plans is worth replaying: between them its plans hold nearly every op, and are taken."""

from __future__ import annotations

import pytest

from pyrt import native
from pyrt.runtime.plan.encode import decode, encode
from pyrt.runtime.plan.ops import Plan
from tests.fuzz.seeds import CORPUS, plans


@pytest.mark.parametrize("name", sorted(plans()))
def test_committed_plan_is_taken_and_is_what_seeds_writes(name: str) -> None:
    raw = (CORPUS / name).read_bytes()
    native.validate(raw)
    assert raw == encode(Plan(plans()[name], slots=2)), "run: python -m tests.fuzz.seeds"


def test_every_op_is_in_some_plan() -> None:
    seen = {op.code for name in plans() for op in decode((CORPUS / name).read_bytes())}
    named = {code for code in range(1, native.OP_CODES) if not native.op_name(code).startswith("op ")}
    assert {native.op_name(code) for code in named - seen} == set()

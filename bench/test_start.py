"""Starting a container, a benchmark for each contestant: `python -m pytest bench` (add --benchmark-save=NAME, --benchmark-compare).

For comparing a contestant with itself, a change later. Contestants among each other: `python -m bench`, which runs them in turn.
"""

from __future__ import annotations

from typing import Any

import pytest

from bench.contestants import CONTESTANTS, Contestant, Missing, Workshop


@pytest.mark.parametrize("contestant", CONTESTANTS, ids=lambda one: one.key)
def test_start(benchmark: Any, workshop: Workshop, contestant: Contestant) -> None:
    try:
        with contestant.start(workshop) as stepper:
            stepper.step()
            benchmark.pedantic(stepper.step, rounds=30, warmup_rounds=2)
    except Missing as reason:
        if contestant.ours:
            raise
        pytest.skip(str(reason))

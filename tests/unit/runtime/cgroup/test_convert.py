from __future__ import annotations

import pytest

from pyrt.base.errors import InvalidSpec
from pyrt.runtime.cgroup import convert


@pytest.mark.parametrize(("shares", "weight"), [(2, 1), (1024, 39), (262144, 10000), (1, 1), (10**9, 10000)])
def test_cpu_weight_as_runc_has_it(shares: int, weight: int) -> None:
    assert convert.cpu_weight(shares) == weight


@pytest.mark.parametrize(("weight", "v2"), [(10, 1), (1000, 10000), (500, 4950)])
def test_io_weight_as_runc_has_it(weight: int, v2: int) -> None:
    assert convert.io_weight(weight) == v2


def test_cpu_max() -> None:
    assert convert.cpu_max(50000, 100000) == "50000 100000"
    assert convert.cpu_max(-1, 20000) == "max 20000"
    assert convert.cpu_max(5000, None) == "5000 100000"


def test_memory_swap() -> None:
    assert convert.memory_swap(300, 100) == 200
    assert convert.memory_swap(100, 100) == 0
    assert convert.memory_swap(-1, 100) == -1
    assert convert.memory_swap(0, 100) is None
    with pytest.raises(InvalidSpec, match="less than"):
        convert.memory_swap(50, 100)
    with pytest.raises(InvalidSpec, match="needs a memory limit"):
        convert.memory_swap(50, None)

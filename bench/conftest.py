"""Benchmarks need root and the programs that they compare; what is missing is skipped, with its name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.contestants import Workshop, remove_hugetlb_dir


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """The floor program and the bundle, made once."""
    if os.geteuid() != 0:
        pytest.skip("benchmarks need root: cgroups and namespaces without a user namespace")
    made_here = not Path("/sys/fs/cgroup/hugetlb").is_dir()
    yield Workshop(tmp_path_factory.mktemp("bench"))
    remove_hugetlb_dir(made_here)

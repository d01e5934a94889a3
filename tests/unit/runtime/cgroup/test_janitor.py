from __future__ import annotations

import os
from pathlib import Path

from pyrt.runtime.cgroup.janitor import leftovers, sweep
from pyrt.runtime.cgroup.layout import ephemeral_name, read_start_time
from pyrt.runtime.host import Hierarchy, HostFacts


def machine(tmp_path: Path) -> HostFacts:
    hierarchies = (Hierarchy(f"{tmp_path}/memory", ("memory",)), Hierarchy(f"{tmp_path}/v2", (), "", True))
    for hierarchy in hierarchies:
        (Path(hierarchy.mount) / "pyrt").mkdir(parents=True)
    return HostFacts(mode="hybrid", hierarchies=hierarchies, euid=0)


def make(tmp_path: Path, name: str) -> None:
    for hierarchy in ("memory", "v2"):
        (tmp_path / hierarchy / "pyrt" / name).mkdir()


def test_only_what_belongs_to_the_dead_goes(tmp_path: Path) -> None:
    facts = machine(tmp_path)
    alive = ephemeral_name("a" * 64)
    reused = f"eph-{os.getpid():010d}-{read_start_time(os.getpid()) + 1:020d}-bbbbbbbbbbbb"
    dead = f"eph-{2**31 - 2:010d}-{5:020d}-cccccccccccc"
    for name in (alive, reused, dead, "somebody-else", "eph-x-y-z"):
        make(tmp_path, name)
    assert set(leftovers(facts)) == {reused, dead}
    assert sweep(facts) == 2
    for hierarchy in ("memory", "v2"):
        assert sorted(os.listdir(tmp_path / hierarchy / "pyrt")) == sorted([alive, "somebody-else", "eph-x-y-z"])
    assert sweep(facts) == 0


def test_nothing_to_do(tmp_path: Path) -> None:
    assert sweep(HostFacts()) == 0
    empty = HostFacts(mode="v2", hierarchies=(Hierarchy(f"{tmp_path}/none", (), "", True),))
    assert sweep(empty) == 0

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyrt.base.errors import Conflict, PyrtError, Unsupported
from pyrt.model import oci
from pyrt.runtime.cgroup.layout import Layout
from pyrt.runtime.cgroup.manager import Manager
from pyrt.runtime.host import Hierarchy, HostFacts, host_facts


def pretended(tmp_path: Path, **files: str) -> Manager:
    """A v2 cgroup of plain files."""
    hierarchy = Hierarchy(str(tmp_path), ("cpu", "memory", "pids"), "", True)
    facts = HostFacts(mode="v2", hierarchies=(hierarchy,), v2_controllers=hierarchy.controllers)
    folder = tmp_path / "x"
    folder.mkdir()
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return Manager(facts, Layout(((hierarchy, str(folder)),)))


def test_update_completes_half_a_limit(tmp_path: Path) -> None:
    manager = pretended(tmp_path, cpu__max="50000 20000\n", cpu__weight="100\n", memory__max="1000\n", memory__swap__max="max\n")
    manager.update(oci.LinuxResources(cpu=oci.LinuxCPU(quota=7000), memory=oci.LinuxMemory(swap=3000)))
    assert (tmp_path / "x/cpu.max").read_text().startswith("7000 20000")
    assert (tmp_path / "x/memory.swap.max").read_text().startswith("2000")


def test_update_puts_back_what_it_changed_when_something_is_refused(tmp_path: Path) -> None:
    manager = pretended(tmp_path, pids__max="10\n")
    with pytest.raises(PyrtError, match=r"--cpu: write .*cpu.weight = 39: ENOENT .*this kernel has no such limit"):
        manager.update(oci.LinuxResources(pids=oci.LinuxPids(limit=99), cpu=oci.LinuxCPU(shares=1024)), lambda path: "--cpu")
    assert (tmp_path / "x/pids.max").read_text().strip().startswith("10")


def test_update_checks_what_is_in_use_first(tmp_path: Path) -> None:
    manager = pretended(tmp_path, memory__current="5000\n", memory__max="max\n")
    with pytest.raises(Conflict, match="5000 bytes are in use"):
        manager.update(oci.LinuxResources(memory=oci.LinuxMemory(limit=100, check_before_update=True)))
    assert (tmp_path / "x/memory.max").read_text() == "max\n"


def test_update_of_what_the_container_lacks(tmp_path: Path) -> None:
    manager = pretended(tmp_path)
    with pytest.raises(Unsupported, match="cpuset"):
        manager.update(oci.LinuxResources(cpu=oci.LinuxCPU(cpus="0")))


def test_a_container_without_cgroups() -> None:
    manager = Manager(HostFacts(), Layout())
    assert manager.pids() == () and not manager.exists() and not manager.frozen()
    manager.remove()
    manager.kill()
    with pytest.raises(Unsupported, match="freezer"):
        manager.freeze()


@pytest.fixture
def real() -> Iterator[Manager]:
    facts = host_facts()
    if os.geteuid() != 0 or not facts.cgroup_writable:
        pytest.skip("no cgroups can be made here")
    manager = Manager.of(facts, f"/pyrt-test-{os.getpid()}")
    for path in manager.directories:
        os.makedirs(path)
    for path in manager.directories:
        if os.path.exists(f"{path}/cpuset.cpus") and not os.path.exists(f"{path}/cgroup.type"):
            for name in ("cpuset.cpus", "cpuset.mems"):
                with open(f"{os.path.dirname(path)}/{name}") as source, open(f"{path}/{name}", "w") as target:
                    target.write(source.read())
    yield manager
    manager.kill()
    manager.remove()


def started(manager: Manager) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(["sleep", "60"])
    for path in manager.directories:
        with open(f"{path}/cgroup.procs", "w") as file:
            file.write(str(process.pid))
    return process


@pytest.mark.root
def test_freezing_killing_and_removing_for_real(real: Manager) -> None:
    process = started(real)
    assert real.pids() == (process.pid,)
    assert real.exists() and not real.frozen()
    real.freeze()
    assert real.frozen()
    real.thaw()
    assert not real.frozen()
    with pytest.raises(Conflict, match="processes live in it"):
        from pyrt.runtime.cgroup import manager as module

        patience, module._PATIENCE = module._PATIENCE, 0.05
        try:
            real.remove()
        finally:
            module._PATIENCE = patience
    real.freeze()
    import threading

    reaper = threading.Thread(target=process.wait)
    reaper.start()
    real.kill()
    reaper.join()
    assert process.returncode == -9
    real.remove()
    assert not real.exists()


@pytest.mark.root
def test_signals_for_real(real: Manager) -> None:
    process = started(real)
    real.signal(15)
    assert process.wait(10) == -15


@pytest.mark.root
def test_limits_for_real(real: Manager) -> None:
    facts = host_facts()
    if facts.controller("pids") is None or facts.controller("memory") is None or facts.mode == "v2":
        pytest.skip("needs the v1 controllers pids and memory")
    mib = 1 << 20
    real.update(oci.LinuxResources(pids=oci.LinuxPids(limit=33), memory=oci.LinuxMemory(limit=100 * mib, swap=100 * mib)))
    assert (real.limits().pids, real.limits().memory) == (33, 100 * mib)
    for grown in (200, 50):
        real.update(oci.LinuxResources(memory=oci.LinuxMemory(limit=grown * mib, swap=grown * mib)))
        assert (real.limits().memory, real.limits().memory_swap) == (grown * mib, grown * mib)

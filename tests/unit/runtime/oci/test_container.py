"""Status and signals of a container whose init is a process of ours; its cgroup is a list of what was asked of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pyrt.base.errors import Conflict
from pyrt.model import oci
from pyrt.runtime.oci import container as module
from pyrt.runtime.oci import procinfo
from pyrt.runtime.oci.container import Container
from pyrt.runtime.oci.store import Record, Store


class Cgroup:
    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.is_frozen = False

    def frozen(self) -> bool:
        return self.is_frozen

    def freeze(self) -> None:
        self.calls.append("freeze")
        self.is_frozen = True

    def thaw(self) -> None:
        self.calls.append("thaw")
        self.is_frozen = False

    def signal(self, number: int) -> None:
        self.calls.append(("signal", number))

    def kill(self) -> None:
        self.calls.append("kill")

    def remove(self) -> None:
        self.calls.append("remove")


@pytest.fixture
def init() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


@pytest.fixture
def cgroup(monkeypatch: pytest.MonkeyPatch) -> Cgroup:
    made = Cgroup()
    monkeypatch.setattr(module, "cgroup_of", lambda record: made)
    return made


@pytest.fixture
def container(init: subprocess.Popen[bytes], cgroup: Cgroup, tmp_path: Path) -> Container:
    seen = procinfo.stat(init.pid)
    assert seen is not None
    namespaces = (oci.LinuxNamespace(type="pid"),)
    record = Record(
        oci_version="1.2.0",
        id="c1",
        bundle="/b",
        rootfs="/b/rootfs",
        created="now",
        config=oci.Spec(oci_version="1.2.0", linux=oci.Linux(namespaces=namespaces)),
        pid=init.pid,
        pid_start=seen.start,
        boot=procinfo.boot_id(),
        cgroups=("/sys/fs/cgroup/x",),
    )
    store = Store(str(tmp_path))
    with store.new("c1"):
        store.save(record)
    return Container.load(store, "c1")


def changed(container: Container, **fields: Any) -> Container:
    return Container(container.store, msgspec.structs.replace(container.record, **fields))


def test_running(container: Container, init: subprocess.Popen[bytes]) -> None:
    assert container.status() == "running"
    assert container.state().pid == init.pid


def test_stopped(container: Container, init: subprocess.Popen[bytes]) -> None:
    init.kill()
    os.waitid(os.P_PID, init.pid, os.WEXITED | os.WNOWAIT)
    assert container.status() == "stopped"  # a zombie already
    init.wait()
    assert container.status() == "stopped"
    assert container.state().pid == 0
    with pytest.raises(Conflict, match="container not running"):
        container.kill(signal.SIGTERM)


def test_another_process_with_the_pid_is_not_ours(container: Container, init: subprocess.Popen[bytes]) -> None:
    for other in (changed(container, pid_start=1), changed(container, boot="another")):
        assert other.status() == "stopped"
        with pytest.raises(Conflict):
            other.kill(signal.SIGKILL)
    assert init.poll() is None


def test_paused(container: Container, cgroup: Cgroup) -> None:
    container.pause()
    assert container.status() == "paused"
    with pytest.raises(Conflict, match="container not running"):
        container.pause()
    container.resume()
    assert container.status() == "running"
    with pytest.raises(Conflict, match="container not paused"):
        container.resume()
    assert cgroup.calls == ["freeze", "thaw"]


def test_created_while_its_gate_is_there_and_it_runs_our_program(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as gate:
        gate.bind(container.store.gate("c1"))
        assert container.status() == "running"  # the gate was left behind by a killed `start`
        monkeypatch.setattr(procinfo, "is_waiting_at_gate", lambda pid: True)
        assert container.status() == "created"


def test_kill_thaws_what_it_kills(container: Container, init: subprocess.Popen[bytes], cgroup: Cgroup) -> None:
    cgroup.is_frozen = True
    container.kill(signal.SIGKILL)
    assert init.wait() == -signal.SIGKILL
    assert cgroup.calls == ["thaw"]


def test_kill_without_own_pids_reaches_everybody(container: Container, cgroup: Cgroup) -> None:
    shared = changed(container, config=oci.Spec(oci_version="1.2.0"))
    shared.kill(signal.SIGKILL)
    assert cgroup.calls == ["kill"]


def test_kill_all(container: Container, cgroup: Cgroup) -> None:
    container.kill(signal.SIGUSR1, everyone=True)
    assert cgroup.calls == [("signal", signal.SIGUSR1)]


def test_kill_all_without_a_cgroup_is_init(container: Container, init: subprocess.Popen[bytes]) -> None:
    changed(container, cgroups=()).kill(signal.SIGTERM, everyone=True)
    assert init.wait() == -signal.SIGTERM


def test_delete(container: Container, init: subprocess.Popen[bytes], cgroup: Cgroup) -> None:
    with pytest.raises(Conflict, match="cannot delete container c1 that is not stopped: running"):
        container.delete()
    assert container.delete(force=True) == []
    assert init.wait() == -signal.SIGKILL
    assert cgroup.calls == ["kill", "remove"]
    assert not os.path.exists(container.store.directory("c1"))

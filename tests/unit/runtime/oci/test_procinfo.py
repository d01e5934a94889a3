"""Processes seen through /proc: our own, one that has gone, one that has not been reaped."""

from __future__ import annotations

import os

import pytest

from pyrt.base.errors import PyrtError
from pyrt.runtime.oci import procinfo


def dead() -> int:
    """A pid that nobody has."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def test_stat_of_ourselves_does_not_change() -> None:
    first = procinfo.stat(os.getpid())
    assert first is not None
    assert first.state == "R"
    assert procinfo.stat(os.getpid()) == first


def test_stat_of_nobody() -> None:
    assert procinfo.stat(dead()) is None
    assert procinfo.stat(0) is None


def test_a_zombie_is_seen_as_one() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    seen = procinfo.stat(pid)
    os.waitpid(pid, 0)
    assert seen is not None
    assert seen.state == "Z"


def test_we_share_our_own_namespaces() -> None:
    assert procinfo.namespaces_apart(os.getpid()) == ()


def test_namespaces_that_cannot_be_seen_are_an_error() -> None:
    with pytest.raises(PyrtError, match="cannot be seen"):
        procinfo.namespaces_apart(dead())


def test_gate() -> None:
    assert not procinfo.is_waiting_at_gate(os.getpid())
    assert procinfo.is_waiting_at_gate(dead())  # cannot be told: the socket decides


def test_boot_id_is_one() -> None:
    assert len(procinfo.boot_id()) == 36


def test_cgroup_path() -> None:
    path = procinfo.cgroup_v2_path(os.getpid())
    assert path == "" or path.startswith("/")
    assert procinfo.cgroup_v2_path(dead()) == ""

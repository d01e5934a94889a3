from __future__ import annotations

import os
import subprocess

import pytest

from pyrt.base.errors import Unsupported
from pyrt.runtime.cgroup.layout import (
    container_path,
    ephemeral_name,
    ephemeral_path,
    place,
    read_start_time,
    recorded,
    start_time,
)
from tests.unit.runtime.plan.kit import HYBRID, ROOTLESS, V1, V2


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", "theid"),
        ("/a/b", "/a/b"),
        ("/../../etc", "/etc"),
        ("a/../../b", "b"),
        ("/a//b/", "/a/b"),
        ("system.slice:docker:abc", "/system.slice/docker-abc.scope"),
        (":docker:abc", "/system.slice/docker-abc.scope"),
        ("user-1000.slice:podman:x", "/user.slice/user-1000.slice/podman-x.scope"),
    ],
)
def test_paths_of_containers(given: str, expected: str) -> None:
    assert container_path(V2, given, "theid") == expected


def test_every_hierarchy_and_the_journal_first() -> None:
    layout = place(HYBRID, "/pyrt/x")
    assert layout.directories[0] == "/sys/fs/cgroup/unified/pyrt/x" == layout.v2
    assert len(layout.directories) == len(HYBRID.hierarchies)
    assert layout.controller("memory") == ("/sys/fs/cgroup/memory/pyrt/x", False)
    assert layout.controller("cpuacct") == ("/sys/fs/cgroup/cpu,cpuacct/pyrt/x", False)
    assert layout.controller("net_cls") is None


def test_only_what_is_needed() -> None:
    layout = place(HYBRID, "/x", ["memory"])
    assert layout.directories == ("/sys/fs/cgroup/unified/x", "/sys/fs/cgroup/memory/x")
    assert place(V1, "/x", []).directories == ("/sys/fs/cgroup/pids/x",)
    assert place(V2, "/x", ["memory", "cpu"]).directories == ("/sys/fs/cgroup/x",)


def test_v2_answers_for_v1_names() -> None:
    assert place(V2, "/x").controller("blkio") == ("/sys/fs/cgroup/x", True)


def test_an_ephemeral_cgroup_says_whose_it_is() -> None:
    name = ephemeral_name("0123456789abcdef")
    word, pid, start, short = name.split("-")
    assert (word, int(pid), int(start), short) == ("eph", os.getpid(), read_start_time(os.getpid()), "0123456789ab")
    assert len(pid) == 10 and len(start) == 20
    assert ephemeral_path(V2, "0" * 64) == f"/pyrt/{ephemeral_name('0' * 64)}"


def test_a_user_s_ephemeral_cgroup_is_beside_its_own() -> None:
    assert ephemeral_path(ROOTLESS, "0" * 64).startswith("/user.slice/u.service/app.slice/pyrt/eph-")


def test_start_times() -> None:
    assert start_time(os.getpid()) == read_start_time(os.getpid()) > 0
    process = subprocess.Popen(["sleep", "5"])
    try:
        assert read_start_time(process.pid) > 0
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert read_start_time(process.pid) == 0, "a zombie owns nothing"
    finally:
        process.wait()
    assert read_start_time(process.pid) == 0


def test_recorded_directories_find_their_hierarchies() -> None:
    layout = place(HYBRID, "/pyrt/x")
    assert recorded(HYBRID, layout.directories) == layout
    with pytest.raises(Unsupported, match="no longer mounted"):
        recorded(HYBRID, ["/elsewhere/x"])

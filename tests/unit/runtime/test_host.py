from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyrt.runtime import host
from pyrt.runtime.host import Hierarchy, HostFacts, host_facts, look

V1_LINES = """\
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
34 31 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/lib/agent,name=systemd
"""
V2_LINE = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n"


def machine(top: Path, mountinfo: str, own: str, controllers: dict[str, str] | None = None, **files: str) -> str:
    (top / "proc/self/ns").mkdir(parents=True)
    (top / "proc/self/ns/user").touch()
    (top / "proc/self/mountinfo").write_text(mountinfo)
    (top / "proc/self/cgroup").write_text(own)
    (top / "proc/self/uid_map").write_text("         0          0 4294967295\n")
    for path, text in (controllers or {}).items():
        (top / path.lstrip("/")).mkdir(parents=True)
        (top / path.lstrip("/") / "cgroup.controllers").write_text(text)
    for path, text in files.items():
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text(text)
    return str(top)


def test_v1(tmp_path: Path) -> None:
    facts = look(machine(tmp_path, V1_LINES, "4:memory:/caller\n3:cpu,cpuacct:/\n2:name=systemd:/user.slice\n"))
    assert facts.mode == "v1"
    memory = facts.controller("memory")
    assert memory == Hierarchy("/sys/fs/cgroup/memory", ("memory",), "/sys/fs/cgroup/memory/caller")
    assert facts.controller("cpuacct") == facts.controller("cpu")
    assert facts.controller("pids") is None and facts.unified is None
    assert [h.controllers for h in facts.hierarchies] == [("cpu", "cpuacct"), ("memory",), ("name=systemd",)]
    assert facts.journal == facts.hierarchies[0]


def test_hybrid(tmp_path: Path) -> None:
    facts = look(machine(tmp_path, V1_LINES + V2_LINE, "4:memory:/\n0::/caller\n", {"/sys/fs/cgroup/unified": "hugetlb\n"}))
    assert facts.mode == "hybrid"
    assert facts.unified == facts.journal
    assert facts.v2_controllers == ("hugetlb",)
    assert facts.controller("hugetlb") == facts.unified
    assert facts.unified is not None and facts.unified.own == "/sys/fs/cgroup/unified/caller"


def test_v2(tmp_path: Path) -> None:
    line = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    facts = look(machine(tmp_path, line, "0::/system.slice/x.service\n", {"/sys/fs/cgroup": "cpuset cpu io memory pids debug\n"}))
    assert facts.mode == "v2"
    assert facts.v2_controllers == ("cpuset", "cpu", "io", "memory", "pids")
    assert facts.controller("blkio") == facts.unified == facts.controller("cpuacct")


def test_no_cgroups(tmp_path: Path) -> None:
    facts = look(machine(tmp_path, "27 1 254:0 / / rw - ext4 /dev/vda rw\n", ""))
    assert facts.mode == "none" and facts.journal is None and not facts.cgroup_writable


def test_the_first_mount_of_a_hierarchy_counts_and_names_are_unescaped(tmp_path: Path) -> None:
    lines = "1 2 0:1 / /mnt/a\\040b rw - cgroup cgroup rw,memory\n3 2 0:1 / /elsewhere rw - cgroup cgroup rw,memory\n"
    assert [h.mount for h in look(machine(tmp_path, lines, "")).hierarchies] == ["/mnt/a b"]


def test_a_container_that_sees_a_part_of_the_hierarchy(tmp_path: Path) -> None:
    lines = "1 2 0:1 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    facts = look(machine(tmp_path, lines, "4:memory:/docker/abc/inner\n"))
    assert facts.hierarchies[0].own == "/sys/fs/cgroup/memory/inner"
    assert look(machine(tmp_path / "b", lines, "4:memory:/elsewhere\n")).hierarchies[0].own == ""


def test_where_paths_of_cgroups_are() -> None:
    v1 = Hierarchy("/cg/memory", ("memory",), "/cg/memory/me")
    assert v1.directory("/a/b") == "/cg/memory/a/b"
    assert v1.directory("a") == "/cg/memory/me/a"
    assert v1.directory("/") == "/cg/memory"
    v2 = Hierarchy("/cg", (), "/cg/x.slice/me.service", True)
    assert v2.directory("a") == "/cg/x.slice/a", "a v2 group with processes has no children with controllers"
    assert Hierarchy("/cg", (), "/cg", True).directory("a") == "/cg/a"


def test_user_namespace_and_security_modules(tmp_path: Path) -> None:
    top = machine(
        tmp_path, "", "", **{"sys/kernel/security/lsm": "capability,landlock,apparmor", "sys/module/apparmor/parameters/enabled": "Y\n"}
    )
    facts = look(top)
    assert "apparmor" in facts.lsms and "landlock" in facts.lsms and facts.userns and not facts.in_userns
    (tmp_path / "proc/self/uid_map").write_text("0 100000 65536\n")
    (tmp_path / "sys/module/apparmor/parameters/enabled").write_text("N\n")
    facts = look(top)
    assert facts.in_userns and facts.rootless and "apparmor" not in facts.lsms


def test_user_namespaces_can_be_off(tmp_path: Path) -> None:
    assert not look(machine(tmp_path, "", "", **{"proc/sys/user/max_user_namespaces": "0\n"})).userns


def test_sub_ids() -> None:
    text = f"nobody-such:1:2\n{os.getuid()}:100000:65536\n{os.getuid()}:bad:1\n{os.getuid()}:300000:10\n"
    assert [(r.start, r.size) for r in host._ranges(text, os.getuid())] == [(100000, 65536), (300000, 10)]


@pytest.mark.parametrize(
    ("text", "expected"), [("6.18.44-fc-v782", (6, 18)), ("5.10.0-8-amd64", (5, 10)), ("6.1", (6, 1)), ("odd", (0, 0))]
)
def test_kernel_versions(text: str, expected: tuple[int, int]) -> None:
    assert host._kernel_version(text) == expected


def test_this_machine_is_looked_at_once() -> None:
    assert host_facts() is host_facts()
    assert isinstance(host_facts(), HostFacts)
    before = host_facts()
    host.forget()
    assert host_facts() == before


def test_the_owner_of_a_namespace() -> None:
    own = os.stat("/proc/self/ns/user")
    assert host.owner_of_namespace("/proc/self/ns/uts") in ((own.st_dev, own.st_ino), None)
    with pytest.raises(OSError):
        host.owner_of_namespace("/nonexistent")

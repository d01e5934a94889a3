"""`pyrt-oci` on cgroup v2: every limit lands in its file, and the lifecycle acts through freeze, kill and the rest of v2."""

from __future__ import annotations

import json

from kit import CGROUPS, bundle, cgroup_dir, cgroup_file, pyrt_oci, state_of, until


def check_every_limit_is_written() -> None:
    resources = {
        "memory": {"limit": 64 << 20, "swap": 96 << 20, "reservation": 32 << 20},
        "cpu": {"shares": 1024, "quota": 25000, "period": 50000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 44},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}],
        "blockIO": {"throttleWriteBpsDevice": [{"major": 254, "minor": 0, "rate": 1 << 20}]},
        "unified": {"memory.high": "50331648", "cgroup.max.depth": "7"},
    }
    folder = bundle("limits", ["/bin/sleep", "600"], linux={"resources": resources})
    pyrt_oci("create", "--bundle", folder, "limits").ok()
    try:
        expected = {
            "memory.max": str(64 << 20),
            "memory.swap.max": str(32 << 20),  # v2 counts swap alone, the spec memory and swap together
            "memory.low": str(32 << 20),
            "memory.high": "50331648",
            "cpu.max": "25000 50000",
            "cpuset.cpus": "0",
            "cpuset.mems": "0",
            "pids.max": "44",
            "hugetlb.2MB.max": str(4 << 20),
            "cgroup.max.depth": "7",
        }
        assert {file: cgroup_file("limits", file) for file in expected} == expected
        assert cgroup_file("limits", "cpu.weight") in ("39", "100")  # runc's older and its newer conversion
        assert "wbps=1048576" in cgroup_file("limits", "io.max")
    finally:
        pyrt_oci("delete", "--force", "limits").ok()
    assert not cgroup_dir("limits").exists()


def check_unknown_unified_key_is_refused() -> None:
    folder = bundle("unknown", ["/bin/true"], linux={"resources": {"unified": {"nosuch.max": "1"}}})
    done = pyrt_oci("run", "--bundle", folder, "unknown")
    assert done.code != 0
    assert "nosuch.max" in done.err, done
    assert not cgroup_dir("unknown").exists()


def check_lifecycle() -> None:
    folder = bundle("life", ["/bin/sleep", "600"])
    pyrt_oci("create", "--bundle", folder, "life").ok()
    assert state_of("life") == "created"
    pyrt_oci("start", "life").ok()
    assert state_of("life") == "running"
    assert pyrt_oci("exec", "life", "/bin/echo", "hello").ok() == "hello\n"
    pyrt_oci("exec", "--detach", "life", "/bin/sleep", "600").ok()
    pids = json.loads(pyrt_oci("ps", "--format", "json", "life").ok())
    assert sorted(pids) == sorted(int(pid) for pid in cgroup_file("life", "cgroup.procs").split())
    assert len(pids) == 2
    pyrt_oci("kill", "life", "KILL").ok()
    assert until(lambda: "populated 0" in cgroup_file("life", "cgroup.events"))
    assert state_of("life") == "stopped"
    pyrt_oci("delete", "life").ok()
    assert not cgroup_dir("life").exists()


def check_pause_freezes() -> None:
    folder = bundle("frozen", ["/bin/payload", "count", "/dev/number", "120000"])
    pyrt_oci("run", "--detach", "--bundle", folder, "frozen").ok()
    pid = json.loads(pyrt_oci("state", "frozen").ok())["pid"]

    def number() -> str:
        with open(f"/proc/{pid}/root/dev/number") as file:
            return file.read().strip()

    try:
        pyrt_oci("pause", "frozen").ok()
        assert state_of("frozen") == "paused"
        assert cgroup_file("frozen", "cgroup.freeze") == "1"
        before = number()
        assert not until(lambda: number() != before, seconds=0.5), "a paused container went on counting"
        pyrt_oci("resume", "frozen").ok()
        assert until(lambda: number() not in ("", before)), "a resumed container did not go on"
        pyrt_oci("pause", "frozen").ok()
    finally:
        pyrt_oci("delete", "--force", "frozen").ok()  # a paused one, too, goes at once: cgroup.kill
    assert not cgroup_dir("frozen").exists()


def check_update_and_events() -> None:
    folder = bundle("changed", ["/bin/sleep", "600"], linux={"resources": {"memory": {"limit": 64 << 20}}})
    pyrt_oci("run", "--detach", "--bundle", folder, "changed").ok()
    try:
        pyrt_oci("update", "--memory", str(48 << 20), "--pids-limit", "9", "--cpu-quota", "30000", "--cpu-period", "60000", "changed").ok()
        files = ("memory.max", "pids.max", "cpu.max")
        assert [cgroup_file("changed", file) for file in files] == [str(48 << 20), "9", "30000 60000"]
        stats = json.loads(pyrt_oci("events", "--stats", "changed").ok())
        assert stats["type"] == "stats"
        assert stats["data"]["memory"]["usage"]["limit"] == 48 << 20
        assert stats["data"]["pids"]["limit"] == 9
        assert stats["data"]["pids"]["current"] == 1
    finally:
        pyrt_oci("delete", "--force", "changed").ok()


def check_kill_all() -> None:
    """Without a pid namespace of its own, what the container started ends by cgroup.kill alone."""
    namespaces = [{"type": kind} for kind in ("mount", "ipc", "uts", "cgroup")]
    script = "sleep 600 & sleep 600 & wait"
    folder = bundle("many", ["/bin/sh", "-c", script], linux={"namespaces": namespaces})
    pyrt_oci("run", "--detach", "--bundle", folder, "many").ok()
    try:
        assert until(lambda: len(cgroup_file("many", "cgroup.procs").split()) == 3)
        pyrt_oci("kill", "--all", "many", "KILL").ok()
        assert until(lambda: "populated 0" in cgroup_file("many", "cgroup.events"))
    finally:
        pyrt_oci("delete", "--force", "many").ok()
    assert not cgroup_dir("many").exists()


def check_devices() -> None:
    """The bundle's rules decide, rule by rule: all refused, then the null device allowed for reading only."""
    rules = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"},
        {"allow": True, "type": "c", "access": "m"},
    ]
    script = "mknod /dev/log1 c 1 11; cat /dev/log1 >/dev/null 2>&1 & sleep 1; kill $! && echo readable; payload open /dev/log1"
    folder = bundle("devices", ["/bin/sh", "-c", script], linux={"resources": {"devices": rules}}, capabilities=["CAP_MKNOD", "CAP_SYSLOG"])
    done = pyrt_oci("run", "--bundle", folder, "devices")
    assert done.out.splitlines() == ["readable", "Operation not permitted"], done


def check_nothing_left() -> None:
    left = [str(path) for path in CGROUPS.glob("slice/*") if path.is_dir()]
    assert not left, left
    assert pyrt_oci("list", "--quiet").ok() == ""

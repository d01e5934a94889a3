"""Configurations that make no sense, one change away from one that does."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from pyrt.base.errors import InvalidSpec, PyrtError, Unsupported
from pyrt.model import oci
from pyrt.runtime.spec import decode, defaults, limits, validate


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "rootfs").mkdir()
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return tmp_path


GOOD: dict[str, Any] = json.loads(oci.to_json(defaults.template()))


def changed(path: str, value: Any) -> dict[str, Any]:
    """The template with one value set; "-" in the path appends to a list."""
    config: Any = copy.deepcopy(GOOD)
    at = config
    *parents, last = path.split(".")
    for key in parents:
        at = at[int(key)] if isinstance(at, list) else at.setdefault(key, {})
    if last == "-":
        at.append(value)
    elif isinstance(at, list):
        at[int(last)] = value
    else:
        at[last] = value
    return config


def check(config: Any, bundle: Path) -> tuple[str, ...]:
    return validate.validate(decode.decode(json.dumps(config).encode()), str(bundle))


def rule(**more: Any) -> dict[str, Any]:
    return {"defaultAction": "SCMP_ACT_ALLOW", **more}


RANGE = {"containerID": 0, "hostID": 0, "size": 10}
BAD: list[tuple[str, Any, str]] = [
    ("ociVersion", "", "ociVersion"),
    ("ociVersion", "latest", "ociVersion"),
    ("ociVersion", "2.0.0", "version 1"),
    ("ociVersion", 1, "expected `str`"),
    ("root", None, "root.path"),
    ("root", {}, "path"),
    ("root.path", "", "root.path"),
    ("root.path", "nowhere", "No such file"),
    ("root.path", "file", "not a directory"),
    ("process", None, "process property must not be empty"),
    ("process", [], "got `array`"),
    ("process.cwd", "", "Cwd property must not be empty"),
    ("process.cwd", "etc", "Cwd must be an absolute path"),
    ("process.args", [], "args must not be empty"),
    ("process.args", None, "args must not be empty"),
    ("process.args", "sh", "expected `array`"),
    ("process.args", [1], "$.process.args[0]"),
    ("process.args", ["a\0b"], "NUL"),
    ("process.user.uid", -1, "$.process.user.uid"),
    ("process.user.uid", 1 << 32, "$.process.user.uid"),
    ("process.user.uid", "root", "$.process.user.uid"),
    ("process.user.additionalGids", [1, -1], "additionalGids[1]"),
    ("process.consoleSize", {"height": 70000, "width": 1}, "65535"),
    ("process.consoleSize", {"height": 7}, "width"),
    ("process.rlimits", [{"type": "RLIMIT_FUN", "hard": 1, "soft": 1}], "RLIMIT_FUN"),
    ("process.rlimits", [{"type": "RLIMIT_CPU", "hard": 1, "soft": 2}], "above the hard limit"),
    ("process.rlimits", [{"type": "RLIMIT_CPU", "hard": 1 << 64, "soft": 1}], "64 bits"),
    ("process.rlimits", [{"type": "RLIMIT_CPU", "hard": 1, "soft": 1}] * 2, "twice"),
    ("process.oomScoreAdj", 1001, "oomScoreAdj"),
    ("process.scheduler", {"policy": "SCHED_FAIR"}, "SCHED_FAIR"),
    ("process.scheduler", {"policy": "SCHED_OTHER", "nice": 20}, "nice"),
    ("process.scheduler", {"policy": "SCHED_OTHER", "priority": 1}, "priority"),
    ("process.scheduler", {"policy": "SCHED_FIFO", "runtime": 1}, "SCHED_DEADLINE"),
    ("process.scheduler", {"policy": "SCHED_FIFO", "flags": ["X"]}, '"X"'),
    ("process.ioPriority", {"class": "IOPRIO_CLASS_NONE", "priority": 1}, "IOPRIO_CLASS_NONE"),
    ("process.ioPriority", {"class": "IOPRIO_CLASS_BE", "priority": 8}, "8"),
    ("process.execCPUAffinity", {"initial": "a-b"}, "initial"),
    ("hostname", "x" * 65, "64 bytes"),
    ("mounts.-", {"destination": ""}, "destination"),
    ("mounts.-", {"source": "x"}, "destination"),
    ("mounts.-", {"destination": "/x", "options": "ro"}, "options"),
    ("mounts.-", {"destination": "/x", "type": "tmpfs", "uidMappings": [RANGE], "gidMappings": [RANGE]}, "bind"),
    ("mounts.-", {"destination": "/x", "type": "bind", "uidMappings": [RANGE]}, "both uid and gid"),
    ("mounts.-", {"destination": "/x", "type": "bind", "options": ["idmap"]}, "both uid and gid"),
    ("hooks", {"prestart": [{"path": "bin/x"}]}, "$.hooks.prestart[0].path"),
    ("hooks", {"createRuntime": [{"path": "/bin/x", "timeout": 0}]}, "$.hooks.createRuntime[0].timeout"),
    ("hooks", {"poststop": [{}]}, "path"),
    ("annotations", {"": "x"}, "key is empty"),
    ("annotations", {"x": 1}, "annotations"),
    ("linux.namespaces.-", {"type": "disk"}, '"disk"'),
    ("linux.namespaces.-", {"type": "pid"}, "duplicated"),
    ("linux.namespaces.0.path", "proc/1/ns/pid", "absolute"),
    ("linux.namespaces.-", {"type": "user"}, "no namespace path to join nor mappings"),
    ("linux.uidMappings", [RANGE], "user namespace isn't enabled"),
    ("linux.timeOffsets", {"monotonic": {"secs": 1}}, "time namespace isn't enabled"),
    ("linux.maskedPaths", ["proc/kcore"], "maskedPaths[0]"),
    ("linux.readonlyPaths", [""], "readonlyPaths[0]"),
    ("linux.rootfsPropagation", "everywhere", "everywhere"),
    ("linux.sysctl", {"kernel.panic": "1"}, "not in a separate kernel namespace"),
    ("linux.sysctl", {"kernel/panic": "1"}, "not in a separate kernel namespace"),
    ("linux.sysctl", {"kernel.hostname": "x"}, "conflicts"),
    ("linux.sysctl", {"user.max_user_namespaces": "1"}, "ucounts"),
    ("linux.sysctl", {"net/../kernel/panic": "1"}, "sysctl"),
    ("linux.sysctl", {"": "1"}, "sysctl"),
    ("linux.devices", [{"type": "x", "path": "/dev/x"}], '"x"'),
    ("linux.devices", [{"type": "c", "path": "dev/x"}], "absolute"),
    ("linux.devices", [{"type": "c", "path": "/dev/x", "major": 5000}], "device number"),
    ("linux.personality", {"domain": "BSD"}, "BSD"),
    ("linux.personality", {"domain": "LINUX", "flags": ["X"]}, "flags"),
    ("linux.cgroupsPath", "/a/../../b", "cgroupsPath"),
    ("linux.resources.devices", [{"allow": True, "type": "d"}], '"d"'),
    ("linux.resources.devices", [{"allow": True, "access": "rx"}], '"rx"'),
    ("linux.resources.devices", [{"type": "c"}], "allow"),
    ("linux.resources.memory", {"limit": -2}, "-2"),
    ("linux.resources.memory", {"limit": 1 << 63}, "limit"),
    ("linux.resources.memory", {"limit": 100, "swap": 50}, "less than memory"),
    ("linux.resources.memory", {"swappiness": 101}, "101"),
    ("linux.resources.cpu", {"shares": 1 << 64}, "64 bits"),
    ("linux.resources.cpu", {"cpus": "all"}, "all"),
    ("linux.resources.cpu", {"quota": 1.5}, "quota"),
    ("linux.resources.pids", {}, "limit"),
    ("linux.resources.blockIO", {"weight": 5}, "10 and 1000"),
    ("linux.resources.blockIO", {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1 << 64}]}, "64 bits"),
    ("linux.resources.hugepageLimits", [{"pageSize": "big", "limit": 1}], "big"),
    ("linux.resources.unified", {"../memory.max": "1"}, "unified"),
    ("linux.resources.network", {"classID": -1}, "classID"),
    ("linux.seccomp", rule(defaultAction="KILL"), "KILL"),
    ("linux.seccomp", rule(syscalls=[{"names": ["x"]}]), "action"),
    ("linux.seccomp", rule(architectures=["PDP11"]), "PDP11"),
    ("linux.seccomp", rule(syscalls=[{"names": ["kill"], "action": "SCMP_ACT_NOTIFY"}]), "listenerPath"),
    ("linux.seccomp", rule(listenerPath="x.sock"), "absolute"),
    ("linux.seccomp", rule(listenerMetadata="x"), "listenerMetadata"),
    ("linux.memoryPolicy", {"mode": "MPOL_NEAR"}, "MPOL_NEAR"),
    ("linux.memoryPolicy", {"mode": "MPOL_BIND"}, "at least one node"),
    ("linux.memoryPolicy", {"mode": "MPOL_LOCAL", "nodes": "0"}, "no nodes"),
    ("linux.memoryPolicy", {"mode": "MPOL_BIND", "nodes": "0", "flags": ["X"]}, '"X"'),
]


def test_the_template_is_fine(bundle: Path) -> None:
    assert check(GOOD, bundle) == ()


@pytest.mark.parametrize(("path", "value", "says"), BAD, ids=[f"{i}-{p}" for i, (p, _, _) in enumerate(BAD)])
def test_refused_in_one_line(path: str, value: Any, says: str, bundle: Path) -> None:
    with pytest.raises(PyrtError) as caught:
        check(changed(path, value), bundle)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_fields_and_nulls_are_passed_over(bundle: Path) -> None:
    config = changed("process.rlimits", None)
    config.update(vm={"kernel": {}}, windows=None, hooks=None, annotations=None, extension=[1])
    config["linux"].update(devices=None, resources=None, sysctl=None, seccomp={})
    assert check(config, bundle) == ()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("linux.sysctl", {"net.ipv4.ip_forward": "1", "fs.mqueue.msg_max": "5", "kernel.shmmax": "1"}),
        ("linux.sysctl", {"net/ipv4/conf/eno2.100/rp_filter": "1", "kernel.domainname": "x"}),
        ("linux.timeOffsets", {}),
        ("linux.rootfsPropagation", "rslave"),
        ("linux.resources.memory", {"limit": -1, "swap": -1}),
        ("linux.resources.memory", {"limit": 0, "swap": 0}),
        ("process.oomScoreAdj", -1000),
        ("process.apparmorProfile", "unconfined"),
        ("ociVersion", "1.0.2-dev"),
        ("hooks", {"poststart": [{"path": "/bin/true", "timeout": 5}]}),
        ("linux.memoryPolicy", {"mode": "MPOL_BIND", "nodes": "0-1", "flags": ["MPOL_F_STATIC_NODES"]}),
    ],
)
def test_allowed(path: str, value: Any, bundle: Path) -> None:
    assert check(changed(path, value), bundle) == ()


def test_what_this_kernel_lacks_is_said(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "has_apparmor", lambda: False)
    monkeypatch.setattr(validate, "has_selinux", lambda: False)
    monkeypatch.setattr(limits, "_has_rdma", lambda: False)
    for path, value in (
        ("process.apparmorProfile", "docker-default"),
        ("process.selinuxLabel", "system_u:system_r:x_t:s0"),
        ("linux.intelRdt", {"closID": "x"}),
        ("linux.netDevices", {"eth0": {}}),
        ("linux.resources.rdma", {"mlx5_1": {"hcaHandles": 3}}),
    ):
        with pytest.raises(Unsupported, match=path.split(".")[-1]):
            check(changed(path, value), bundle)


def test_a_mount_label_without_selinux_is_a_warning(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "has_selinux", lambda: False)
    (warning,) = check(changed("linux.mountLabel", "system_u:object_r:x_t:s0"), bundle)
    assert "mountLabel" in warning


def test_an_unknown_capability_is_a_warning(bundle: Path) -> None:
    config = changed("process.capabilities.bounding", ["CAP_KILL", "CAP_FLY"])
    (warning,) = check(config, bundle)
    assert "CAP_FLY" in warning


def test_relative_destination_is_a_warning(bundle: Path) -> None:
    (warning,) = check(changed("mounts.-", {"destination": "x", "type": "tmpfs"}), bundle)
    assert "relative destination" in warning


def test_user_namespaces(bundle: Path) -> None:
    config = changed("linux.namespaces.-", {"type": "user"})
    config["linux"].update(uidMappings=[RANGE], gidMappings=[RANGE])
    assert check(config, bundle) == ()
    for bad, says in (
        ([{**RANGE, "size": 0}], "size"),
        ([RANGE, {"containerID": 9, "hostID": 50, "size": 5}], "overlap at id 9"),
        ([RANGE, {"containerID": 50, "hostID": 9, "size": 5}], "overlap at id 9"),
        ([{**RANGE, "hostID": (1 << 32) - 5}], "last id"),
        ([{"containerID": i, "hostID": i, "size": 1} for i in range(341)], "340"),
        ([], "both"),
    ):
        config["linux"]["uidMappings"] = bad
        with pytest.raises(InvalidSpec, match=says):
            check(config, bundle)
    config["linux"]["namespaces"][-1]["path"] = "/proc/1/ns/user"
    with pytest.raises(InvalidSpec, match="choose one"):
        check(config, bundle)


def test_time_namespace(bundle: Path) -> None:
    config = changed("linux.namespaces.-", {"type": "time"})
    config["linux"]["timeOffsets"] = {"boottime": {"secs": -5, "nanosecs": 1}}
    assert check(config, bundle) == ()
    config["linux"]["timeOffsets"] = {"tai": {}}
    with pytest.raises(InvalidSpec, match="tai"):
        check(config, bundle)
    config["linux"]["timeOffsets"] = {"monotonic": {"nanosecs": 1_000_000_000}}
    with pytest.raises(InvalidSpec, match="nanosecs"):
        check(config, bundle)


@pytest.mark.parametrize("type", ["uts", "ipc", "network", "mount"])
def test_settings_need_their_namespace(type: str, bundle: Path) -> None:
    config = copy.deepcopy(GOOD)
    config["linux"]["sysctl"] = {"net.core.somaxconn": "1", "kernel.sem": "1"}
    config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] != type]
    with pytest.raises(InvalidSpec):
        check(config, bundle)


def test_rootless(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(InvalidSpec, match="rootless container requires user namespaces"):
        check(GOOD, bundle)
    spec = defaults.rootless(defaults.template(), 1000, 1000)
    assert validate.validate(spec, str(bundle)) == ()
    config = json.loads(oci.to_json(spec))
    config["mounts"][2]["options"].append("gid=5")
    with pytest.raises(InvalidSpec, match="gid=5"):
        check(config, bundle)

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyrt import native as n
from pyrt.base.errors import InvalidSpec, Unsupported
from pyrt.model import oci
from pyrt.runtime.overlay_root import OverlayRoot
from pyrt.runtime.plan.compile import CompileOptions, JoinTarget, compile_exec, sysctl_path
from pyrt.runtime.plan.encode import encode
from pyrt.runtime.plan.explain import render
from pyrt.runtime.plan.ops import Plan
from pyrt.runtime.spec import defaults
from tests.unit.runtime.plan.kit import HYBRID, ID, ROOTLESS, V1, V2, compiled, find, listed, make_spec, namespaces, one, order

GOLDEN = Path(__file__).parent / "golden"


def docker_like(**changes: object) -> oci.Spec:
    fields: dict[str, object] = {
        "hostname": "box",
        "mounts": defaults.default_mounts(),
        "linux": {
            "namespaces": namespaces(),
            "masked_paths": defaults._MASKED_PATHS,
            "readonly_paths": defaults.READONLY_PATHS,
            "resources": oci.LinuxResources(devices=defaults.DEVICE_RULES, memory=oci.LinuxMemory(limit=64 << 20, swap=128 << 20)),
        },
        "process": {"capabilities": defaults.capability_sets(defaults.DEFAULT_CAPABILITIES), "args": ("sh", "-c", "id; hostname")},
        **changes,
    }
    return make_spec(**fields)  # type: ignore[arg-type]


def plain() -> Plan:
    return compiled(make_spec(), V2)


def ephemeral_hybrid() -> Plan:
    origins = {"linux.resources.memory": "-m 64m", "linux.resources.devices": "default"}
    overlay = OverlayRoot(lower=("/lower",))
    return compiled(
        docker_like(), HYBRID, overlay=overlay, controllers="needed", cgroup_path="/pyrt/eph", foreground=True, usage=True, origins=origins
    )


def everything_v1() -> Plan:
    return compiled(docker_like(), V1, gate_socket="/run/pyrt/x/gate", cgroup_path="/x")


def rootless() -> Plan:
    spec = defaults.rootless(docker_like(), 1000, 1000)
    return compiled(spec, ROOTLESS, cgroup_path="")


def joining() -> Plan:
    linux = {"namespaces": namespaces("mount", "cgroup", pid="/proc/7/ns/pid", network="/var/run/netns/x")}
    return compiled(make_spec(linux=linux, process={"user": oci.User(uid=5, gid=5)}), V2, init=True)


@pytest.mark.parametrize("make", [plain, ephemeral_hybrid, everything_v1, rootless, joining], ids=lambda make: make.__name__)
def test_golden_plans(make: object) -> None:
    """PYRT_GOLDEN=write makes them anew; look at the difference before it is committed."""
    assert callable(make)
    path = GOLDEN / f"{make.__name__}.txt"
    text = render(make())
    if os.environ.get("PYRT_GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()


def test_the_same_input_gives_the_same_plan() -> None:
    assert encode(ephemeral_hybrid()) == encode(ephemeral_hybrid())


def test_every_op_says_why_it_is_there() -> None:
    for plan in (plain(), ephemeral_hybrid(), everything_v1(), rootless(), joining()):
        assert [op for op in plan.ops if not op.why] == []


def test_names_and_network() -> None:
    plan = compiled(make_spec(hostname="h", domainname="d"))
    assert one(plan, n.OP_HOSTNAME).s == ("h",) and one(plan, n.OP_DOMAINNAME).s == ("d",)
    joined = compiled(make_spec(linux={"namespaces": namespaces("mount", network="/n")}))
    assert not find(joined, n.OP_LOOPBACK) and not find(joined, n.OP_NETNS_MAKE), "a network that is joined is left alone"


def test_sysctls_are_set_before_they_become_read_only() -> None:
    linux = {"namespaces": namespaces(), "sysctl": {"net.ipv4.ip_forward": "1"}, "readonly_paths": ("/proc/sys",)}
    plan = compiled(make_spec(linux=linux))
    assert one(plan, n.OP_SYSCTL).s == ("net/ipv4/ip_forward", "1")
    assert one(plan, n.OP_SYSCTL).why == "linux.sysctl.net.ipv4.ip_forward"
    assert order(plan, n.OP_SYSCTL, n.OP_READONLY)


@pytest.mark.parametrize(
    ("key", "path"),
    [("a.b.c", "a/b/c"), ("net/ipv4/conf/eth0.1/x", "net/ipv4/conf/eth0.1/x"), ("net.ipv4.conf.eth0/1.x", "net/ipv4/conf/eth0.1/x")],
)
def test_sysctl_paths(key: str, path: str) -> None:
    assert sysctl_path(key) == path


def test_home_comes_from_the_container_s_passwd(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nfive:x:5:5::/home/five:/bin/sh\n")

    def home(uid: int, *env: str) -> list[str]:
        spec = make_spec(root=oci.Root(path=str(tmp_path)), process={"env": env, "user": oci.User(uid=uid)})
        return [item for item in listed(one(compiled(spec), n.OP_EXEC).s[2]) if item.startswith("HOME=")]

    assert home(5) == ["HOME=/home/five"]
    assert home(77) == ["HOME=/"]
    assert home(5, "HOME=/mine") == ["HOME=/mine"]


def test_fields_that_nothing_serves_are_refused() -> None:
    with pytest.raises(Unsupported, match=r"linux\.intelRdt"):
        compiled(make_spec(linux={"namespaces": namespaces(), "intel_rdt": oci.LinuxIntelRdt()}))
    with pytest.raises(Unsupported, match=r"linux\.netDevices"):
        compiled(make_spec(linux={"namespaces": namespaces(), "net_devices": {"eth0": oci.LinuxNetDevice()}}))
    with pytest.raises(InvalidSpec, match="process"):
        compiled(oci.Spec(oci_version="1.0.0"))


def test_without_a_mount_namespace_the_host_s_mounts_are_left_alone() -> None:
    plan = compiled(make_spec(linux={"namespaces": namespaces("pid"), "rootfs_propagation": "private"}))
    assert one(plan, n.OP_PIVOT).n == (2,)
    assert not find(plan, n.OP_PROPAGATION)
    with pytest.raises(Unsupported, match="mount namespace"):
        compiled(make_spec(linux={"namespaces": namespaces("pid")}), overlay=OverlayRoot(lower=("/",)))


# -- exec ------------------------------------------------------------------------------------------------------------

PROCESS = oci.Process(cwd="/", args=("ps",), env=("PATH=/bin", "HOME=/"), user=oci.User(uid=5))


def executed(target: JoinTarget, process: oci.Process = PROCESS, facts: object = V2, **options: object) -> Plan:
    plan = compile_exec(process, make_spec(), target, facts, CompileOptions(id=ID, **options))  # type: ignore[arg-type]
    n.validate(encode(plan))
    return plan


def test_exec_enters_everything_and_makes_nothing() -> None:
    target = JoinTarget(42, ("pid", "network", "mount", "user", "cgroup"), ("/cg/memory/x",), "/cg/unified/x")
    plan = executed(target)
    first, second = find(plan, n.OP_CLONE)
    assert (first.n[0], second.n[0]) == (0, 0)
    assert first.n[1] == one(plan, n.OP_CGROUP_OPEN).n[0] and second.n[1] == n.NO_SLOT
    assert [op.s[0] for op in find(plan, n.OP_JOIN_NS)] == [f"/proc/42/ns/{name}" for name in ("net", "pid", "cgroup", "mnt", "user")]
    assert one(plan, n.OP_CGROUP_ATTACH).s[0] == "/cg/memory/x"
    assert order(plan, n.OP_CGROUP_ATTACH, n.OP_JOIN_NS, n.OP_SETSID, n.OP_SETID, n.OP_EXEC)
    assert not find(plan, n.OP_MOUNT) and not find(plan, n.OP_PIVOT) and not find(plan, n.OP_ROOT)


def test_exec_without_a_pid_namespace_takes_one_clone() -> None:
    assert len(find(executed(JoinTarget(42, ("mount",))), n.OP_CLONE)) == 1


def test_exec_on_a_terminal() -> None:
    process = oci.Process(cwd="/", args=("sh",), env=("HOME=/",), terminal=True)
    op = one(executed(JoinTarget(42, ("mount",)), process, console_slot=0), n.OP_CONSOLE)
    assert op.n[2] == 0, "the container's /dev/console stays"

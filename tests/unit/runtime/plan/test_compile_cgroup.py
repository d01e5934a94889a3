from __future__ import annotations

import msgspec
import pytest

from pyrt import native as n
from pyrt.base.errors import Unsupported
from pyrt.model import oci
from pyrt.runtime.spec.defaults import ALL_DEVICES, DEVICE_RULES
from tests.unit.runtime.plan.kit import HYBRID, ID, ROOTLESS, V1, V2, compiled, find, listed, make_spec, namespaces, one, order, writes

LIMITS = oci.LinuxResources(
    devices=DEVICE_RULES, memory=oci.LinuxMemory(limit=64 << 20), pids=oci.LinuxPids(limit=20), cpu=oci.LinuxCPU(quota=50000, period=100000)
)


def test_v2_starts_in_its_cgroup() -> None:
    plan = compiled(make_spec(linux={"resources": LIMITS, "cgroups_path": "/a/b"}), V2)
    made = one(plan, n.OP_CGROUP_MKDIR)
    assert made.s[0] == "/sys/fs/cgroup/a/b" and made.s[2] == "/sys/fs/cgroup"
    assert listed(made.s[1]) == ["+cpuset", "+cpu", "+io", "+memory", "+hugetlb", "+pids"]
    assert writes(plan) == {
        "/sys/fs/cgroup/a/b/pids.max": "20",
        "/sys/fs/cgroup/a/b/memory.max": str(64 << 20),
        "/sys/fs/cgroup/a/b/cpu.max": "50000 100000",
    }
    opened, clone = one(plan, n.OP_CGROUP_OPEN), one(plan, n.OP_CLONE)
    assert clone.n[1] == opened.n[0], "no task ever migrates"
    assert one(plan, n.OP_CGROUP_DEVICES).s[0] == "/sys/fs/cgroup/a/b"
    assert not find(plan, n.OP_CGROUP_ATTACH)
    assert order(plan, n.OP_CGROUP_MKDIR, n.OP_WRITE, n.OP_CGROUP_DEVICES, n.OP_CGROUP_OPEN, n.OP_CLONE)


def test_v1_enters_every_hierarchy_before_its_namespace_is_made() -> None:
    plan = compiled(make_spec(linux={"resources": LIMITS, "cgroups_path": "/a"}), V1)
    assert len(find(plan, n.OP_CGROUP_MKDIR)) == len(find(plan, n.OP_CGROUP_ATTACH)) == len(V1.hierarchies)
    assert {op.side for op in find(plan, n.OP_CGROUP_ATTACH)} == {n.CONTAINER}
    cpuset = one(plan, n.OP_CGROUP_MKDIR, "/sys/fs/cgroup/cpuset/a")
    assert cpuset.n[0] & 2, "its CPUs come from the parent"
    assert order(plan, n.OP_CLONE, n.OP_CGROUP_ATTACH, n.OP_UNSHARE)
    assert writes(plan)["/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us"] == "50000"
    lines = [(op.s[0], bytes(op.s[1]).decode()) for op in find(plan, n.OP_WRITE) if "devices" in str(op.s[0])]  # type: ignore[arg-type]
    assert lines[0] == ("/sys/fs/cgroup/devices/a/devices.deny", "a")
    assert ("/sys/fs/cgroup/devices/a/devices.allow", "c 1:3 rwm") in lines
    assert not find(plan, n.OP_CGROUP_DEVICES)


def test_only_the_hierarchies_that_are_needed() -> None:
    plan = compiled(make_spec(linux={"resources": LIMITS}), HYBRID, controllers="needed", cgroup_path="/pyrt/eph")
    assert [op.s[0] for op in find(plan, n.OP_CGROUP_MKDIR)] == [
        "/sys/fs/cgroup/unified/pyrt/eph",
        "/sys/fs/cgroup/cpu,cpuacct/pyrt/eph",
        "/sys/fs/cgroup/memory/pyrt/eph",
        "/sys/fs/cgroup/pids/pyrt/eph",
    ]
    assert one(plan, n.OP_CGROUP_DEVICES).s[0] == "/sys/fs/cgroup/unified/pyrt/eph"
    bare = compiled(make_spec(), HYBRID, controllers="needed", cgroup_path="/pyrt/eph")
    assert len(find(bare, n.OP_CGROUP_MKDIR)) == 1 and not find(bare, n.OP_CGROUP_ATTACH)


def test_a_v1_machine_without_v2_denies_devices_by_its_controller() -> None:
    plan = compiled(make_spec(linux={"resources": LIMITS}), V1, controllers="needed", cgroup_path="/x")
    assert "/sys/fs/cgroup/devices/x" in {op.s[0] for op in find(plan, n.OP_CGROUP_MKDIR)}


def test_v2_enables_only_what_is_needed() -> None:
    plan = compiled(make_spec(linux={"resources": LIMITS}), V2, controllers="needed", cgroup_path="/x")
    assert listed(one(plan, n.OP_CGROUP_MKDIR).s[1]) == ["+cpu", "+memory", "+pids"]


def test_privileged_containers_have_no_device_program() -> None:
    plan = compiled(make_spec(linux={"resources": oci.LinuxResources(devices=ALL_DEVICES)}), V2)
    assert not find(plan, n.OP_CGROUP_DEVICES)


def test_the_spec_s_path_and_the_default() -> None:
    assert one(compiled(make_spec(), V2), n.OP_CGROUP_MKDIR).s[0] == f"/sys/fs/cgroup/system.slice/{ID}"
    plan = compiled(make_spec(linux={"cgroups_path": "/../../x"}), V2)
    assert one(plan, n.OP_CGROUP_MKDIR).s[0] == "/sys/fs/cgroup/x"


def test_usage_is_read_after_the_end() -> None:
    plan = compiled(make_spec(), V2, usage=True)
    ops = find(plan, n.OP_USAGE)
    assert {op.n[0] for op in ops} == set(range(n.USAGE_KINDS))
    assert all(op.flags & n.F_AT_EXIT for op in ops)
    plan = compiled(make_spec(linux={"resources": LIMITS}), HYBRID, usage=True, controllers="needed", cgroup_path="/x")
    files = [str(op.s[0]).rsplit("/", 1)[1] for op in find(plan, n.OP_USAGE)]
    assert files == ["cpu.stat"] * 3 + ["memory.max_usage_in_bytes", "memory.oom_control", "pids.peak"]


def test_without_a_pid_namespace_the_rest_is_killed_at_the_end() -> None:
    plan = compiled(make_spec(linux={"namespaces": namespaces("mount")}), V2)
    assert one(plan, n.OP_CGROUP_KILL).flags & n.F_AT_EXIT
    assert not find(compiled(make_spec(), V2), n.OP_CGROUP_KILL)


def test_users_below_their_delegated_cgroup() -> None:
    linux = {
        "namespaces": namespaces("mount", "pid", "user"),
        "resources": oci.LinuxResources(devices=DEVICE_RULES, pids=oci.LinuxPids(limit=9)),
        "uid_mappings": (oci.IDMapping(container_id=0, host_id=1000, size=1),),
        "gid_mappings": (oci.IDMapping(container_id=0, host_id=1000, size=1),),
    }
    plan = compiled(make_spec(linux=linux), ROOTLESS, cgroup_path="/user.slice/u.service/app.slice/pyrt/eph", controllers="needed")
    made = one(plan, n.OP_CGROUP_MKDIR)
    assert made.s[2] == "/sys/fs/cgroup/user.slice/u.service/app.slice", "no higher than the user may write"
    assert not find(plan, n.OP_CGROUP_DEVICES), "users cannot deny devices, nor make them"


def test_no_cgroup_at_all() -> None:
    facts = msgspec.structs.replace(V1, cgroup_writable=False)
    plan = compiled(make_spec(), facts)
    assert not any(n.op_name(op.code).startswith("cgroup") for op in plan.ops)
    plan = compiled(make_spec(), V2, cgroup_path="")
    assert not find(plan, n.OP_CGROUP_MKDIR)


def test_a_limit_without_cgroups_is_no_secret() -> None:
    spec = make_spec(linux={"resources": LIMITS})
    facts = msgspec.structs.replace(V2, cgroup_writable=False)
    with pytest.raises(Unsupported, match="--pids-limit 20: cgroups are mounted read-only here"):
        compiled(spec, facts, origins={"linux.resources.pids": "--pids-limit 20"})
    with pytest.raises(Unsupported, match="this user cannot make cgroups"):
        compiled(spec, msgspec.structs.replace(facts, euid=5))

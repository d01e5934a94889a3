from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pyrt import native as n
from pyrt.base.errors import InvalidSpec
from pyrt.model import oci
from pyrt.runtime.plan import constants as k
from tests.unit.runtime.plan.kit import HYBRID, V1, V2, compiled, find, listed, make_spec, namespaces, one

MAP = (oci.IDMapping(container_id=0, host_id=100000, size=65536),)


def mounted(*mounts: oci.Mount, facts: Any = V2, linux: dict[str, Any] | None = None, **options: Any) -> Any:
    return compiled(make_spec(mounts=mounts, linux=linux), facts, **options)


def mount(destination: str, type_: str = "", source: str = "", *options: str, **more: Any) -> oci.Mount:
    return oci.Mount(destination=destination, type=type_, source=source, options=options, **more)


def test_a_file_system() -> None:
    plan = mounted(mount("/dev/shm/../shm", "tmpfs", "shm", "nosuid", "mode=1777", "size=64k"))
    op = one(plan, n.OP_MOUNT, "shm")
    assert (op.s[1], op.s[2], listed(op.s[3])) == ("/dev/shm", "tmpfs", ["mode=1777", "size=64k"])
    assert op.n[0] == k.MS_NOSUID and op.n[2] == n.AT_ROOT
    assert op.why == "mounts[0]"


def test_binds() -> None:
    plan = mounted(mount("/data", "", "src", "rbind", "ro", "rprivate"), mount("/x", "bind", "/abs"))
    bind = one(plan, n.OP_BIND, "/data")
    assert bind.s[0] == "/bundle/src" and bind.n[0] == k.MS_REC | k.MS_RDONLY and bind.n[1] == k.MS_REC | k.MS_PRIVATE
    assert one(plan, n.OP_BIND, "/x").n[:2] == (0, 0)


def test_recursive_attributes_go_onto_everything_below() -> None:
    plan = mounted(mount("/d", "", "/s", "rbind", "rro", "rnoatime"))
    op = one(plan, n.OP_MOUNT_ATTR, "/d")
    assert op.n == (k.MOUNT_ATTR_RDONLY | k.MOUNT_ATTR_NOATIME, k.MOUNT_ATTR_ATIME, n.AT_ROOT, 1)


def test_in_a_user_namespace_root_takes_the_sources_beforehand() -> None:
    linux = {"namespaces": namespaces("mount", "pid", "user"), "uid_mappings": MAP, "gid_mappings": MAP}
    plan = mounted(mount("/d", "", "/secret", "rbind"), linux=linux)
    tree = one(plan, n.OP_OPEN_TREE, "/secret")
    bind = one(plan, n.OP_BIND, "/d")
    assert bind.s[0] == "" and bind.n[3] == tree.n[1] and tree.n[0] == 1
    assert plan.ops.index(tree) < next(i for i, op in enumerate(plan.ops) if op.code == n.OP_CLONE)


def test_id_mapped_mounts() -> None:
    plan = mounted(mount("/d", "", "/s", "rbind", "idmap", uid_mappings=MAP, gid_mappings=MAP))
    userns, tree = one(plan, n.OP_IDMAP_USERNS), one(plan, n.OP_OPEN_TREE)
    assert userns.s[:2] == ("0 100000 65536\n",) * 2
    assert tree.n[2] == userns.n[0] and tree.n[0] == 3, "the top mount only"
    assert one(mounted(mount("/d", "", "/s", "rbind", "ridmap", uid_mappings=MAP, gid_mappings=MAP)), n.OP_OPEN_TREE).n[0] == 1
    linux = {"namespaces": namespaces("mount", "user"), "uid_mappings": MAP, "gid_mappings": MAP}
    assert one(mounted(mount("/d", "", "/s", "bind", "idmap"), linux=linux), n.OP_IDMAP_USERNS).s[0] == "0 100000 65536\n"
    joined = {"namespaces": namespaces("mount", user="/proc/7/ns/user")}
    assert one(mounted(mount("/d", "", "/s", "bind", "idmap"), linux=joined), n.OP_IDMAP_USERNS).s[2] == "/proc/7/ns/user"
    with pytest.raises(InvalidSpec, match="uidMappings and gidMappings"):
        mounted(mount("/d", "", "/s", "bind", "idmap"))


def test_a_read_only_tmpfs_is_filled_first() -> None:
    plan = mounted(mount("/a", "tmpfs", "tmpfs", "ro"), mount("/a/b", "tmpfs", "tmpfs"), mount("/ab", "tmpfs", "tmpfs", "ro"))
    assert one(plan, n.OP_MOUNT, "/a").n[0] == 0
    assert one(plan, n.OP_MOUNT, "/ab").n[0] == k.MS_RDONLY
    closed = one(plan, n.OP_MOUNT_ATTR, "/a")
    assert closed.n[0] == k.MOUNT_ATTR_RDONLY
    assert plan.ops.index(closed) > plan.ops.index(one(plan, n.OP_MOUNT, "/a/b"))


def test_remount_and_propagation_only() -> None:
    plan = mounted(mount("/x", "", "", "remount", "ro", "suid"), mount("/y", "none", "", "rslave"))
    assert one(plan, n.OP_MOUNT_ATTR, "/x").n[:2] == (k.MOUNT_ATTR_RDONLY, k.MOUNT_ATTR_NOSUID)
    assert one(plan, n.OP_PROPAGATION, "/y").n == (n.AT_ROOT, k.MS_SLAVE | k.MS_REC)


@pytest.mark.parametrize("wrong", [mount("/x"), mount("/x", "none", "", "ro"), mount("/x", "bind", "")])
def test_mounts_of_nothing(wrong: oci.Mount) -> None:
    with pytest.raises(InvalidSpec, match=r"mounts\[0\]"):
        mounted(wrong)


def test_what_a_user_namespace_cannot_mount_is_bound() -> None:
    linux = {"namespaces": namespaces("mount", "user"), "uid_mappings": MAP, "gid_mappings": MAP}
    plan = mounted(mount("/proc", "proc"), mount("/sys", "sysfs", "sysfs", "ro"), linux=linux)
    assert one(plan, n.OP_BIND, "/sys").n[0] == k.MS_RDONLY | k.MS_REC
    assert one(plan, n.OP_BIND, "/proc").s == ("/proc", "/proc")
    assert not find(plan, n.OP_MOUNT, "proc")


def test_the_terminals_group_is_left_out_where_it_is_not_mapped() -> None:
    small = (oci.IDMapping(container_id=0, host_id=1000, size=1),)
    devpts = mount("/dev/pts", "devpts", "devpts", "newinstance", "gid=5", "mode=0620")
    linux = {"namespaces": namespaces("mount", "user"), "uid_mappings": small, "gid_mappings": small}
    assert listed(one(mounted(devpts, linux=linux), n.OP_MOUNT, "/dev/pts").s[3]) == ["newinstance", "mode=0620"]
    assert "gid=5" in listed(one(mounted(devpts), n.OP_MOUNT, "/dev/pts").s[3])


def test_selinux_label_of_mounts() -> None:
    linux = {"namespaces": namespaces(), "mount_label": "system_u:object_r:c:s0"}
    facts = msgspec.structs.replace(V2, lsms=("selinux",))
    plan = mounted(mount("/a", "tmpfs"), mount("/proc", "proc"), facts=facts, linux=linux)
    assert listed(one(plan, n.OP_MOUNT, "/a").s[3]) == ["context=system_u:object_r:c:s0"]
    assert listed(one(plan, n.OP_MOUNT, "/proc").s[3]) == []
    assert listed(one(mounted(mount("/a", "tmpfs"), linux=linux), n.OP_MOUNT, "/a").s[3]) == [], "a kernel without SELinux would refuse it"


CGROUP = mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro", "nosuid")


def test_cgroup_mount_of_v2() -> None:
    assert one(mounted(CGROUP), n.OP_MOUNT, "/sys/fs/cgroup").s[2] == "cgroup2"
    bound = one(mounted(CGROUP, linux={"namespaces": namespaces("mount", "pid")}), n.OP_BIND, "/sys/fs/cgroup")
    assert bound.s[0] == "/sys/fs/cgroup" and bound.n[0] & k.MS_RDONLY


def test_cgroup_mount_of_v1_shows_only_the_container_s_own() -> None:
    plan = mounted(CGROUP, facts=V1, cgroup_path="/x")
    assert one(plan, n.OP_MOUNT, "/sys/fs/cgroup").s[2] == "tmpfs"
    binds = [op for op in find(plan, n.OP_BIND) if str(op.s[1]).startswith("/sys/fs/cgroup/")]
    assert {str(op.s[0]).rsplit("/", 1)[1] for op in binds} == {"x"} and len(binds) == len(V1.hierarchies)
    assert all(op.n[0] & k.MS_RDONLY for op in binds)
    assert one(plan, n.OP_SYMLINK, "/sys/fs/cgroup/cpuacct").s[0] == "cpu,cpuacct"
    assert one(plan, n.OP_MOUNT_ATTR, "/sys/fs/cgroup").n[0] == k.MOUNT_ATTR_RDONLY


def test_cgroup_mount_of_a_hybrid_with_nothing_but_v2_is_one_mount() -> None:
    plan = mounted(CGROUP, facts=HYBRID, cgroup_path="/x", controllers="needed")
    assert one(plan, n.OP_MOUNT, "/sys/fs/cgroup").s[2] == "cgroup2"

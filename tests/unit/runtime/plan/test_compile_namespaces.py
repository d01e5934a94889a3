from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pyrt import native as n
from pyrt.base.errors import Unsupported
from pyrt.model import oci
from pyrt.runtime.plan import constants as k
from pyrt.runtime.plan.compile_namespaces import map_text, time_text
from tests.unit.runtime.plan.kit import ROOTLESS, V1, V2, compiled, find, make_spec, namespaces, one, order

MAP = (oci.IDMapping(container_id=0, host_id=100000, size=65536),)
USERNS: dict[str, Any] = {"uid_mappings": MAP, "gid_mappings": MAP}
JOINED = {"network": "/proc/7/ns/net"}


def clones(plan: Any) -> list[tuple[int, int]]:
    return [(op.side, op.n[0]) for op in find(plan, n.OP_CLONE)]


def made_flags(plan: Any) -> int:
    """All namespaces that the plan makes, whichever way."""
    flags = 0
    for op in (*find(plan, n.OP_CLONE), *find(plan, n.OP_UNSHARE)):
        flags |= op.n[0]
    if find(plan, n.OP_NETNS_MAKE):
        flags |= k.CLONE_NEWNET
    return flags


def test_one_clone_makes_them_all_and_the_host_is_not_needed_again() -> None:
    plan = compiled(make_spec(), V2)
    assert len(clones(plan)) == 1
    expected = k.CLONE_NEWNS | k.CLONE_NEWPID | k.CLONE_NEWUTS | k.CLONE_NEWIPC | k.CLONE_NEWNET | k.CLONE_NEWCGROUP
    assert made_flags(plan) == expected
    at = next(i for i, op in enumerate(plan.ops) if op.code == n.OP_CLONE)
    later = [op for op in plan.ops[at + 1 :] if op.side == n.HOST and not op.flags & (n.F_AT_EXIT | n.F_BESIDE)]
    assert later == [], "each change of side costs a message"


def test_the_cgroup_namespace_comes_after_the_cgroup() -> None:
    plan = compiled(make_spec(), V1)
    assert one(plan, n.OP_CLONE).n[0] & k.CLONE_NEWCGROUP == 0
    assert one(plan, n.OP_UNSHARE).n[0] == k.CLONE_NEWCGROUP
    assert order(plan, n.OP_CGROUP_ATTACH, n.OP_UNSHARE)


def test_joining_a_network_takes_no_second_clone() -> None:
    plan = compiled(make_spec(linux={"namespaces": namespaces("mount", "pid", **JOINED)}), V2)
    assert len(clones(plan)) == 1
    assert one(plan, n.OP_JOIN_NS).s[0] == "/proc/7/ns/net"


@pytest.mark.parametrize(
    ("spaces", "extra"),
    [
        (namespaces("mount", pid="/proc/7/ns/pid"), {}),
        (namespaces("mount", "user", **JOINED), USERNS),
        (namespaces("mount", user="/proc/7/ns/user"), {}),
    ],
)
def test_what_takes_a_second_clone(spaces: tuple[oci.LinuxNamespace, ...], extra: dict[str, Any]) -> None:
    plan = compiled(make_spec(linux={"namespaces": spaces, **extra}), V2)
    first, second = clones(plan)
    assert first == (n.HOST, 0) and second[0] == n.CONTAINER
    assert order(plan, n.OP_CLONE, n.OP_JOIN_NS)
    places = [i for i, op in enumerate(plan.ops) if op.code in (n.OP_CLONE, n.OP_JOIN_NS)]
    assert plan.ops[places[-1]].code == n.OP_CLONE, "the container's own process is born where all is joined"


def test_limits_that_only_the_machine_s_root_may_set_come_before_the_user_namespace() -> None:
    linux = {"namespaces": namespaces("mount", "pid", "user"), **USERNS}
    plan = compiled(make_spec(linux=linux, process={"oom_score_adj": -500}), V2)
    assert len(clones(plan)) == 2
    assert order(plan, n.OP_OOM_SCORE, n.OP_USERNS_MAP)
    plan = compiled(make_spec(linux=linux, process={"oom_score_adj": 500}), V2)
    assert len(clones(plan)) == 1


def test_maps_are_written_by_root_in_one_turn() -> None:
    plan = compiled(make_spec(linux={"namespaces": namespaces("mount", "user"), **USERNS}), V2)
    uid, gid = find(plan, n.OP_USERNS_MAP)
    assert (uid.s[0], uid.n[:2], gid.n[:2]) == ("0 100000 65536\n", (0, 0), (1, 0))
    at = plan.ops.index(uid)
    assert plan.ops[at - 1].code == n.OP_CLONE and plan.ops[at + 1] == gid
    first = find(plan, n.OP_SETID)[0]
    assert first.n[:2] == (0, 0), "files are made by the container's root"
    assert plan.ops.index(first) < next(i for i, op in enumerate(plan.ops) if op.code == n.OP_ROOT)


def test_users_map_themselves_alone_without_help() -> None:
    own = (oci.IDMapping(container_id=0, host_id=1000, size=1),)
    linux = {"namespaces": namespaces("mount", "user"), "uid_mappings": own, "gid_mappings": own}
    plan = compiled(make_spec(linux=linux), ROOTLESS, cgroup_path="")
    uid, gid = find(plan, n.OP_USERNS_MAP)
    assert uid.s[1] == gid.s[1] == "" and gid.n[1] == 1, "setgroups is denied, else the kernel takes no gid map"
    assert find(plan, n.OP_SETID)[-1].n[3] == 1
    groups = {"user": oci.User(uid=0, additional_gids=(5,))}
    with pytest.raises(Unsupported, match="supplementary groups"):
        compiled(make_spec(linux=linux, process=groups), ROOTLESS, cgroup_path="")


def test_users_map_ranges_through_newuidmap() -> None:
    linux = {"namespaces": namespaces("mount", "user"), **USERNS}
    plan = compiled(make_spec(linux=linux), ROOTLESS, cgroup_path="")
    assert [op.s[1] for op in find(plan, n.OP_USERNS_MAP)] == ["/usr/bin/newuidmap", "/usr/bin/newgidmap"]
    with pytest.raises(Unsupported, match="uidmap"):
        compiled(make_spec(linux=linux), msgspec.structs.replace(ROOTLESS, newuidmap=""), cgroup_path="")


def test_root_joins_a_user_namespace_last_and_others_first() -> None:
    spaces = namespaces("pid", user="/u", network="/n", mount="/m")
    plan = compiled(make_spec(linux={"namespaces": spaces}), V2)
    assert [op.s[0] for op in find(plan, n.OP_JOIN_NS)] == ["/n", "/m", "/u"]
    plan = compiled(make_spec(linux={"namespaces": spaces}), ROOTLESS, cgroup_path="")
    assert [op.s[0] for op in find(plan, n.OP_JOIN_NS)] == ["/u", "/n", "/m"]


def test_time_namespaces() -> None:
    offsets = {"monotonic": oci.LinuxTimeOffset(secs=-5, nanosecs=3), "boottime": oci.LinuxTimeOffset(secs=7)}
    assert time_text(offsets) == "monotonic -5 3\nboottime 7 0\n"
    linux = {"namespaces": namespaces("mount", "time"), "time_offsets": offsets}
    plan = compiled(make_spec(linux=linux), V2)
    assert len(clones(plan)) == 1 and order(plan, n.OP_UNSHARE, n.OP_TIME_OFFSETS, n.OP_EXEC)
    old = compiled(make_spec(linux=linux), msgspec.structs.replace(V2, kernel=(5, 10)))
    assert len(clones(old)) == 2, "an older kernel moves only children"


def test_the_cgroup_is_entered_first_where_another_cgroup_namespace_is_joined() -> None:
    spaces = namespaces("mount", cgroup="/c", pid="/p")
    first, second = find(compiled(make_spec(linux={"namespaces": spaces}), V2), n.OP_CLONE)
    assert first.n[1] != n.NO_SLOT and second.n[1] == n.NO_SLOT


def test_a_foreground_container_dies_with_its_executor() -> None:
    assert one(compiled(make_spec(), V2, foreground=True), n.OP_PDEATHSIG).n == (9,)
    assert not find(compiled(make_spec(), V2), n.OP_PDEATHSIG)


def test_map_text() -> None:
    two = (oci.IDMapping(container_id=0, host_id=1, size=2), oci.IDMapping(container_id=2, host_id=9, size=1))
    assert map_text(two) == "0 1 2\n2 9 1\n"

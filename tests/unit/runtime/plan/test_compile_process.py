from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from pyrt import native as n
from pyrt.base.errors import InvalidSpec, Unsupported
from pyrt.model import oci
from pyrt.runtime.plan.compile_process import capability_mask, environment
from tests.unit.runtime.plan.kit import V2, compiled, find, listed, make_spec, namespaces, one, order, u32s

FILTER = b"\x06\0\0\0\0\0\xff\x7f"


def test_rights_are_given_up_in_the_order_that_works() -> None:
    sets = oci.LinuxCapabilities(
        bounding=("CAP_CHOWN", "CAP_KILL"),
        effective=("CAP_CHOWN",),
        permitted=("CAP_CHOWN",),
        inheritable=("CAP_KILL",),
        ambient=("CAP_KILL",),
    )
    process = {"capabilities": sets, "user": oci.User(uid=5, gid=6, additional_gids=(7, 8))}
    plan = compiled(make_spec(process=process))
    assert one(plan, n.OP_CAP_BOUNDING).n == (1 | 1 << 5,)
    assert one(plan, n.OP_CAPS).n == (1, 1, 1 << 5, 1 << 5)
    ids = one(plan, n.OP_SETID)
    assert ids.n[:2] == (5, 6) and u32s(ids.s[0]) == (7, 8) and ids.n[3] == 0
    assert order(plan, n.OP_PIVOT, n.OP_CAP_BOUNDING, n.OP_CWD, n.OP_SETID, n.OP_CAPS, n.OP_FIND_EXEC, n.OP_EXEC)


def test_no_capabilities_means_none() -> None:
    assert one(compiled(make_spec()), n.OP_CAPS).n == (0, 0, 0, 0)
    assert capability_mask(("CAP_CHOWN", "CAP_CHECKPOINT_RESTORE", "CAP_ODD")) == 1 | 1 << 40


def test_a_filter_without_no_new_privs_comes_before_the_ids() -> None:
    plan = compiled(make_spec(), seccomp_bpf=FILTER, seccomp_flags=2)
    assert one(plan, n.OP_SECCOMP).n == (8, 2, n.NO_SLOT)
    assert order(plan, n.OP_CAP_BOUNDING, n.OP_FDS, n.OP_SECCOMP, n.OP_SETID)


def test_a_filter_with_no_new_privs_comes_as_late_as_can_be() -> None:
    plan = compiled(make_spec(process={"no_new_privileges": True}), seccomp_bpf=FILTER, init=True, gate_socket="/g")
    assert order(plan, n.OP_NO_NEW_PRIVS, n.OP_FDS, n.OP_CAPS, n.OP_GATE, n.OP_SECCOMP, n.OP_INIT, n.OP_EXEC)


def test_a_filter_with_a_listener() -> None:
    policy = oci.LinuxSeccomp(default_action="SCMP_ACT_NOTIFY", listener_path="/agent", listener_metadata="m")
    spec = make_spec(linux={"namespaces": namespaces(), "seccomp": policy}, process={"no_new_privileges": True})
    plan = compiled(spec, seccomp_bpf=FILTER, gate_socket="/g")
    op = one(plan, n.OP_SECCOMP)
    assert op.n[2] == one(plan, n.OP_CONNECT, "/agent").n[0]
    state = json.loads("7".join(str(part) for part in op.s[1:4]))
    assert (state["pid"], state["fds"], state["metadata"], state["state"]["pid"]) == (7, ["seccompFd"], "m", 7)
    assert order(plan, n.OP_SECCOMP, n.OP_GATE), "its agent belongs to create"


def test_the_program() -> None:
    plan = compiled(make_spec(process={"args": ("sh", "-c", "x"), "env": ("PATH=/a", "HOME=/h", "PATH=/b")}))
    assert one(plan, n.OP_FIND_EXEC).s == ("sh", "/b"), "the last one wins"
    op = one(plan, n.OP_EXEC)
    assert listed(op.s[1]) == ["sh", "-c", "x"] and listed(op.s[2]) == ["PATH=/a", "HOME=/h", "PATH=/b"]
    with pytest.raises(InvalidSpec, match="no command"):
        compiled(make_spec(process={"args": ()}))


def test_a_created_container_waits_where_its_program_is_known_to_exist() -> None:
    plan = compiled(make_spec(), gate_socket="/run/pyrt/x/gate")
    assert one(plan, n.OP_GATE).n == one(plan, n.OP_LISTEN).n
    assert order(plan, n.OP_LISTEN, n.OP_CLONE, n.OP_FIND_EXEC, n.OP_GATE, n.OP_EXEC)
    assert not find(compiled(make_spec()), n.OP_GATE)


def test_fds_of_the_caller() -> None:
    plan = compiled(make_spec(), preserve_fds=2, fd_base_slot=1)
    assert one(plan, n.OP_FDS).n == (2, 1) and plan.slots == 3
    assert one(compiled(make_spec()), n.OP_FDS).n == (0, 0), "all others are closed in any case"


def test_hooks_at_their_places() -> None:
    def hook(name: str, timeout: int | None = None) -> tuple[oci.Hook, ...]:
        return (oci.Hook(path=f"/{name}", args=(name, "arg"), env=("A=1",), timeout=timeout),)

    hooks = oci.Hooks(
        prestart=hook("prestart", 5),
        create_runtime=hook("runtime"),
        create_container=hook("container"),
        start_container=hook("start"),
        poststart=hook("poststart"),
    )
    plan = compiled(make_spec(hooks=hooks), gate_socket="/g")
    ops = find(plan, n.OP_HOOK)
    assert [(op.s[0], op.side) for op in ops] == [
        ("/prestart", n.HOST),
        ("/runtime", n.HOST),
        ("/container", n.CONTAINER),
        ("/start", n.CONTAINER),
    ]
    container = plan.ops.index(ops[2])
    assert plan.ops[container - 1].code == n.OP_CWD and plan.ops[container - 1].s == ("/bundle/rootfs",), "it starts in the root"
    assert ops[0].n[2] == 5 and ops[1].n[2] == 0
    assert listed(ops[0].s[1]) == ["prestart", "arg"] and listed(ops[0].s[2]) == ["A=1"]
    assert json.loads(f"{ops[0].s[3]}1{ops[0].s[4]}")["status"] == "created"
    assert json.loads(f"{ops[1].s[3]}1{ops[1].s[4]}")["status"] == "creating"
    assert json.loads(f"{ops[3].s[3]}1{ops[3].s[4]}")["status"] == "created"
    places = [i for i, op in enumerate(plan.ops) if op.code in (n.OP_DEVICE, n.OP_HOOK, n.OP_PIVOT, n.OP_GATE)]
    codes = [plan.ops[i].code for i in places if plan.ops[i].code != n.OP_DEVICE]
    assert codes == [n.OP_HOOK, n.OP_HOOK, n.OP_HOOK, n.OP_PIVOT, n.OP_GATE, n.OP_HOOK]


def test_umask_keyring_personality() -> None:
    plan = compiled(make_spec())
    assert one(plan, n.OP_UMASK).n == (0o022,) and find(plan, n.OP_KEYRING)
    process: dict[str, Any] = {"user": oci.User(umask=0o077)}
    plan = compiled(
        make_spec(process=process, linux={"namespaces": namespaces(), "personality": oci.LinuxPersonality(domain="LINUX32")}),
        no_new_keyring=True,
    )
    assert one(plan, n.OP_UMASK).n == (0o077,) and not find(plan, n.OP_KEYRING)
    assert one(plan, n.OP_PERSONALITY).n == (8,)
    with pytest.raises(InvalidSpec, match="ODD"):
        compiled(make_spec(linux={"namespaces": namespaces(), "personality": oci.LinuxPersonality(domain="ODD")}))


def test_labels_need_their_security_module() -> None:
    process = {"apparmor_profile": "docker-default", "selinux_label": "a:b:c:d"}
    plan = compiled(make_spec(process=process), msgspec.structs.replace(V2, lsms=("apparmor", "selinux")))
    assert one(plan, n.OP_APPARMOR).s == ("docker-default",) and one(plan, n.OP_SELINUX).s == ("a:b:c:d",)
    assert order(plan, n.OP_APPARMOR, n.OP_SETID)
    for field, name in (("apparmor_profile", "AppArmor"), ("selinux_label", "SELinux")):
        with pytest.raises(Unsupported, match=f"{name} is not enabled"):
            compiled(make_spec(process={field: process[field]}))


def test_variables() -> None:
    assert environment(("A=1", "AB=2", "A=3"), "A") == "3"
    assert environment(("AB=2",), "A") is None

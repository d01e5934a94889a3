from __future__ import annotations

from pyrt import native as n
from pyrt.model import oci
from pyrt.runtime.plan import constants as k
from pyrt.runtime.spec import defaults
from tests.unit.runtime.plan.kit import V2, compiled, find, make_spec, namespaces, one, order


def test_the_network_is_made_while_the_child_mounts() -> None:
    plan = compiled(make_spec(mounts=defaults.default_mounts()), V2)
    clone, made = one(plan, n.OP_CLONE), one(plan, n.OP_NETNS_MAKE)
    assert clone.n[0] & k.CLONE_NEWNET == 0 and clone.n[0] & k.CLONE_NEWPID
    assert plan.ops[plan.ops.index(clone) + 1] == made and made.flags == n.F_BESIDE
    assert made.n == (1,) and not find(plan, n.OP_LOOPBACK)
    entered = plan.ops.index(one(plan, n.OP_NETNS_ENTER))
    sysfs = plan.ops.index(one(plan, n.OP_MOUNT, "/sys"))
    assert plan.ops.index(one(plan, n.OP_MOUNT, "/proc")) < entered < sysfs, "sysfs shows the network of who mounts it"


def test_not_where_the_host_has_another_turn() -> None:
    hooks = oci.Hooks(create_runtime=(oci.Hook(path="/h"),))
    plan = compiled(make_spec(hooks=hooks), V2)
    assert one(plan, n.OP_CLONE).n[0] & k.CLONE_NEWNET and find(plan, n.OP_LOOPBACK) and not find(plan, n.OP_NETNS_MAKE)


def test_not_in_a_user_namespace_that_has_to_own_it() -> None:
    mapping = (oci.IDMapping(container_id=0, host_id=100000, size=65536),)
    linux = {"namespaces": namespaces("mount", "user", "network"), "uid_mappings": mapping, "gid_mappings": mapping}
    assert not find(compiled(make_spec(linux=linux), V2), n.OP_NETNS_MAKE)


def test_sysctls_and_hooks_run_in_it() -> None:
    hooks = oci.Hooks(create_container=(oci.Hook(path="/h"),))
    plan = compiled(make_spec(hooks=hooks, linux={"namespaces": namespaces(), "sysctl": {"net.ipv4.ip_forward": "1"}}), V2)
    assert order(plan, n.OP_NETNS_ENTER, n.OP_HOOK, n.OP_SYSCTL)


def test_a_network_that_is_shared_is_not_made() -> None:
    assert not find(compiled(make_spec(linux={"namespaces": namespaces("mount", "pid")}), V2), n.OP_NETNS_MAKE)

"""Defaults are Docker's and runc's; what they are made of fits the kernel."""

from __future__ import annotations

import json

from pyrt.model import oci
from pyrt.runtime.spec import decode, defaults


def test_capabilities_are_in_the_kernels_order() -> None:
    numbers = {"CAP_CHOWN": 0, "CAP_KILL": 5, "CAP_SYS_ADMIN": 21, "CAP_MKNOD": 27, "CAP_AUDIT_READ": 37, "CAP_CHECKPOINT_RESTORE": 40}
    assert {name: defaults.CAPABILITIES.index(name) for name in numbers} == numbers
    assert len(set(defaults.CAPABILITIES)) == 41
    assert set(defaults.DEFAULT_CAPABILITIES) <= set(defaults.CAPABILITIES)
    assert len(defaults.DEFAULT_CAPABILITIES) == 14
    assert defaults.all_capabilities()[0] == "CAP_CHOWN"
    assert len(defaults.all_capabilities()) == min(41, defaults.last_capability() + 1)


def test_sets() -> None:
    sets = defaults.capability_sets(("CAP_KILL",))
    assert sets.bounding == sets.effective == sets.permitted == ("CAP_KILL",)
    assert sets.inheritable == sets.ambient == ()


def test_mounts() -> None:
    mounts = {m.destination: m for m in defaults.default_mounts(1 << 20)}
    assert list(mounts) == ["/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup", "/dev/mqueue", "/dev/shm"]
    assert "size=1048576" in mounts["/dev/shm"].options
    assert "ro" in mounts["/sys"].options
    assert "/sys/fs/cgroup" not in [m.destination for m in defaults.default_mounts(cgroup=False)]


def test_paths() -> None:
    assert {"/proc/kcore", "/proc/keys", "/sys/firmware"} <= set(defaults.masked_paths())
    assert "/proc/sysrq-trigger" in defaults.READONLY_PATHS


def test_template_survives_json() -> None:
    for spec in (defaults.template(), defaults.template(cgroup_v2=True), defaults.rootless(defaults.template(), 5, 6)):
        assert decode.decode(oci.to_json(spec, indent=4)) == spec
    types = [ns.type for ns in (defaults.template(cgroup_v2=True).linux or oci.Linux()).namespaces]
    assert "cgroup" in types


def test_rootless_asks_for_nothing_that_needs_root() -> None:
    document = json.loads(oci.to_json(defaults.rootless(defaults.template(), 5, 6)))
    types = [ns["type"] for ns in document["linux"]["namespaces"]]
    assert "user" in types
    assert "network" not in types
    assert document["linux"]["gidMappings"] == [{"containerID": 0, "hostID": 6, "size": 1}]
    assert not any("gid=" in o for m in document["mounts"] for o in m.get("options", ()))
    assert next(m for m in document["mounts"] if m["destination"] == "/sys")["options"][0] == "rbind"

"""Docker's policy and its profile files: which rules hold for which capabilities, machine and kernel."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pyrt.base.errors import InvalidSpec
from pyrt.model import oci
from pyrt.runtime.spec import seccomp_profile as sp


def allowed(policy: oci.LinuxSeccomp) -> set[str]:
    return {n for r in policy.syscalls if r.action == "SCMP_ACT_ALLOW" and not r.args for n in r.names}


def profile(*rules: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules, **more}).encode()


def rule(name: str, **more: Any) -> dict[str, Any]:
    return {"names": [name], "action": "SCMP_ACT_ALLOW", **more}


def test_default_by_capability() -> None:
    none = allowed(sp.profile((), "amd64"))
    assert {"read", "execve", "arch_prctl", "ptrace"} <= none
    assert not none & {"mount", "reboot", "bpf", "syslog", "clone", "unshare", "keyctl", "kexec_load", "userfaultfd"}
    assert allowed(sp.profile(("CAP_SYS_BOOT",), "amd64")) - none == {"reboot"}
    assert allowed(sp.profile(("CAP_SYS_ADMIN",), "amd64")) - none >= {"mount", "clone", "clone3", "unshare", "setns"}
    assert sp.profile(("CAP_KILL",)) is sp.profile(["CAP_KILL"] and ("CAP_KILL",))


def test_default_by_machine() -> None:
    assert "arch_prctl" not in allowed(sp.profile((), "arm64"))
    assert "cacheflush" in allowed(sp.profile((), "arm64"))
    assert sp.profile((), "amd64").architectures == ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32")
    (clone,) = [r for r in sp.profile((), "s390x").syscalls if r.names == ("clone",)]
    assert clone.args[0].index == 1
    (clone3,) = [r for r in sp.profile((), "amd64").syscalls if r.names == ("clone3",)]
    assert (clone3.action, clone3.errno_ret) == ("SCMP_ACT_ERRNO", 38)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({}, True),
        ({"includes": {"caps": ["CAP_A", "CAP_B"]}}, True),
        ({"includes": {"caps": ["CAP_A", "CAP_C"]}}, False),
        ({"excludes": {"caps": ["CAP_C", "CAP_B"]}}, False),
        ({"includes": {"arches": ["amd64", "x32"]}}, True),
        ({"includes": {"arches": ["arm64"]}}, False),
        ({"excludes": {"arches": ["amd64"]}}, False),
        ({"includes": {"minKernel": "4.8"}}, True),
        ({"includes": {"minKernel": "200.1"}}, False),
        ({"excludes": {"minKernel": "4.8"}}, False),
    ],
)
def test_conditions(condition: dict[str, Any], holds: bool) -> None:
    policy = sp.load_profile(profile(rule("kill", **condition)), ("CAP_A", "CAP_B"), "amd64")
    assert (allowed(policy) == {"kill"}) is holds


def test_fields_go_through() -> None:
    raw = profile(
        {"name": "kill", "action": "SCMP_ACT_ERRNO", "errnoRet": 5, "args": [{"index": 1, "value": 9, "op": "SCMP_CMP_EQ"}]},
        defaultErrnoRet=38,
        flags=["SECCOMP_FILTER_FLAG_LOG"],
        listenerPath="/s",
        archMap=[
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
        ],
    )
    policy = sp.load_profile(raw, (), "amd64")
    assert policy.architectures == ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86")
    assert (policy.default_errno_ret, policy.flags, policy.listener_path) == (38, ("SECCOMP_FILTER_FLAG_LOG",), "/s")
    (only,) = policy.syscalls
    assert (only.names, only.errno_ret, only.args[0].value) == (("kill",), 5, 9)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"{}", "defaultAction"),
        (b"[]", "expected `object`"),
        (profile({"name": "a", "names": ["b"], "action": "SCMP_ACT_ALLOW"}), "either 'name' or 'names'"),
        (profile(architectures=["SCMP_ARCH_X86"], archMap=[{"architecture": "SCMP_ARCH_X86_64"}]), "not both"),
        (profile(rule("a", includes={"minKernel": "five"})), '"five"'),
        (profile(rule("a", includes={"minKernel": "0.0"})), '"0.0"'),
    ],
)
def test_bad_profiles(raw: bytes, says: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        sp.load_profile(raw, (), "amd64", name="my.json")
    text = str(caught.value)
    assert says in text or says.capitalize() in text
    assert text.startswith("my.json: ")
    assert "\n" not in text

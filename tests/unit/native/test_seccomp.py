"""What a compiled policy does to calls, asked of the program itself: no container, no root."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import msgspec
import pytest

from pyrt.base.errors import InvalidSpec, Unsupported
from pyrt.model import oci
from pyrt.native import bpf, seccomp
from pyrt.runtime.spec import defaults, seccomp_profile

X86_64 = 0xC000003E
ALLOW, EPERM, ENOSYS = 0x7FFF0000, 0x00050001, 0x00050026

pytestmark = pytest.mark.skipif(
    os.uname().machine != "x86_64" or seccomp.version() is None, reason="needs libseccomp on x86-64 (call numbers)"
)


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(seccomp, "cache_dir", lambda: str(tmp_path / "cache"))
    monkeypatch.setattr(seccomp, "_remembered", {})
    return tmp_path / "cache" / "seccomp"


def policy(*rules: oci.LinuxSyscall, default: str = "SCMP_ACT_ERRNO", **more: object) -> oci.LinuxSeccomp:
    return msgspec.convert({"defaultAction": default, "syscalls": [msgspec.to_builtins(r) for r in rules], **more}, oci.LinuxSeccomp)


def rule(names: str, action: str = "SCMP_ACT_ALLOW", *args: tuple[int, str, int, int], errno: int | None = None):
    return oci.LinuxSyscall(
        names=tuple(names.split()),
        action=action,
        errno_ret=errno,
        args=tuple(oci.LinuxSeccompArg(index=i, op="SCMP_CMP_" + op, value=v, value_two=w) for i, op, v, w in args),
    )


def answer(of: oci.LinuxSeccomp, nr: int, *args: int, arch: int = X86_64) -> int:
    data = struct.pack("=IIQ6Q", nr, arch, 0, *(*args, *[0] * (6 - len(args))))
    return bpf.run(bpf.decode(seccomp.compile_filter(of)), data)


def test_docker_default() -> None:
    profile = seccomp_profile.profile(defaults.DEFAULT_CAPABILITIES)
    assert answer(profile, 39) == ALLOW  # getpid
    assert answer(profile, 165) == EPERM  # mount
    assert answer(profile, 435) == ENOSYS  # clone3
    assert answer(profile, 9999) == ENOSYS  # of a kernel to come
    assert answer(profile, 56, 0x11) == ALLOW  # clone as fork does it
    assert answer(profile, 56, 0x10000000) == EPERM  # clone(CLONE_NEWUSER)
    assert answer(profile, 41, 1) == ALLOW  # socket(AF_UNIX)
    assert answer(profile, 41, 40) == EPERM  # AF_VSOCK
    assert answer(profile, 41, 38) == EPERM  # AF_ALG
    assert answer(profile, 135, 0xFFFFFFFF) == ALLOW  # personality(query)
    assert answer(profile, 135, 0x40000) == EPERM  # ADDR_NO_RANDOMIZE
    assert answer(profile, 20, arch=0x40000003) == ALLOW  # getpid of a 32-bit program
    assert answer(profile, 21, arch=0x40000003) == EPERM  # its mount
    assert answer(profile, 39 | 0x40000000) == ALLOW  # x32
    assert answer(profile, 39, arch=0xC00000B7) == 0  # arm64: killed


def test_capabilities_open_calls() -> None:
    admin = seccomp_profile.profile((*defaults.DEFAULT_CAPABILITIES, "CAP_SYS_ADMIN"))
    assert answer(admin, 165) == ALLOW
    assert answer(admin, 435) == ALLOW
    assert answer(admin, 56, 0x10000000) == ALLOW
    assert answer(admin, 169) == EPERM  # reboot still


@pytest.mark.parametrize(
    ("op", "value", "two", "yes", "no"),
    [
        ("NE", 5, 0, 6, 5),
        ("LT", 5, 0, 4, 5),
        ("LE", 5, 0, 5, 6),
        ("EQ", 1 << 40, 0, 1 << 40, 0),
        ("GE", 5, 0, 5, 4),
        ("GT", 5, 0, 1 << 40, 5),
        ("MASKED_EQ", 0xF0, 0x30, 0x3F, 0x40),
    ],
)
def test_operators(op: str, value: int, two: int, yes: int, no: int) -> None:
    p = policy(rule("kill", "SCMP_ACT_ALLOW", (1, op, value, two)))
    assert answer(p, 62, 0, yes) == ALLOW
    assert answer(p, 62, 0, no) == EPERM


@pytest.mark.parametrize(
    ("action", "errno", "ret"),
    [
        ("SCMP_ACT_KILL", None, 0),
        ("SCMP_ACT_KILL_THREAD", None, 0),
        ("SCMP_ACT_KILL_PROCESS", None, 0x80000000),
        ("SCMP_ACT_TRAP", None, 0x00030000),
        ("SCMP_ACT_ERRNO", None, 0x00050001),
        ("SCMP_ACT_ERRNO", 0, 0x00050000),
        ("SCMP_ACT_ERRNO", 110, 0x0005006E),
        ("SCMP_ACT_TRACE", 7, 0x7FF00007),
        ("SCMP_ACT_LOG", None, 0x7FFC0000),
        ("SCMP_ACT_NOTIFY", None, 0x7FC00000),
    ],
)
def test_actions(action: str, errno: int | None, ret: int) -> None:
    p = policy(rule("getpid", action, errno=errno), default="SCMP_ACT_ALLOW")
    assert answer(p, 39) == ret
    assert answer(p, 40) == ALLOW
    assert answer(p, 9999) == ALLOW  # a permissive policy is not given ENOSYS


def test_conditions_on_one_argument_are_alternatives() -> None:
    p = policy(rule("kill", "SCMP_ACT_ALLOW", (1, "EQ", 5, 0), (1, "EQ", 6, 0)))
    assert [answer(p, 62, 0, v) for v in (5, 6, 7)] == [ALLOW, ALLOW, EPERM]


def test_conditions_on_several_arguments_must_all_hold() -> None:
    p = policy(rule("kill", "SCMP_ACT_ALLOW", (0, "EQ", 1, 0), (1, "EQ", 6, 0)))
    assert [answer(p, 62, *v) for v in ((1, 6), (1, 7), (0, 6))] == [ALLOW, EPERM, EPERM]


def test_unknown_call_is_passed_over() -> None:
    assert answer(policy(rule("no_such_call getpid")), 39) == ALLOW


def test_default_errno_is_part_of_the_key() -> None:
    a = policy(rule("getpid kill"))
    b = policy(rule("getpid kill"), defaultErrnoRet=2)
    assert answer(a, 40) == EPERM
    assert answer(b, 40) == 0x00050002


def test_flags() -> None:
    p = policy(
        rule("getpid", "SCMP_ACT_NOTIFY"),
        flags=["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"],
    )
    assert seccomp.filter_flags(p) == 2 | 4 | 8
    assert seccomp.filter_flags(policy()) == 0
    assert "SECCOMP_FILTER_FLAG_LOG" in seccomp.supported_flags()


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (policy(default="SCMP_ACT_NONE"), "defaultAction"),
        (policy(default="SCMP_ACT_NOTIFY"), "default action"),
        (policy(defaultErrnoRet=70000), "70000 is not an errno"),
        (policy(rule("kill", "NONE")), "syscalls[0].action"),
        (policy(rule("")), "syscalls[0].names"),
        (policy(rule("kill", "SCMP_ACT_ERRNO", errno=5000)), "5000 is not an errno"),
        (policy(rule("kill", "SCMP_ACT_ALLOW", (6, "EQ", 0, 0))), "args[0].index"),
        (policy(rule("kill", "SCMP_ACT_ALLOW", (0, "XX", 0, 0))), "args[0].op"),
        (policy(rule("kill", "SCMP_ACT_ALLOW", (0, "EQ", 1 << 64, 0))), "64 bits"),
        (policy(rule("write", "SCMP_ACT_NOTIFY")), "write"),
        (policy(architectures=["SCMP_ARCH_PDP11"]), "SCMP_ARCH_PDP11"),
        (policy(flags=["SECCOMP_FILTER_FLAG_FLY"]), "SECCOMP_FILTER_FLAG_FLY"),
    ],
)
def test_nonsense_is_refused_in_one_line(broken: oci.LinuxSeccomp, says: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        seccomp.compile_filter(broken)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_cached_file_is_used_without_libseccomp(fresh_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    p = policy(rule("getpid"))
    program = seccomp.compile_filter(p)
    monkeypatch.setattr(seccomp, "_library", lambda: None)
    assert seccomp.compile_filter(p) is program
    seccomp._remembered.clear()
    assert seccomp.compile_filter(p) == program
    with pytest.raises(Unsupported, match="libseccomp"):
        seccomp.compile_filter(policy(rule("kill")))


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "writable", "symlink"])
def test_damaged_cache_is_not_believed(fresh_cache: Path, damage: str) -> None:
    p = policy(rule("getpid"))
    program = seccomp.compile_filter(p)
    (file,) = fresh_cache.iterdir()
    raw = bytearray(file.read_bytes())
    if damage == "cut":
        file.write_bytes(raw[:-8])
    elif damage == "flip":
        raw[40] ^= 1
        file.write_bytes(raw)
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "writable":
        file.chmod(0o666)
    else:
        file.rename(fresh_cache / "elsewhere")
        file.symlink_to(fresh_cache / "elsewhere")
    assert seccomp._read_cached(file.name) is None
    seccomp._remembered.clear()
    assert seccomp.compile_filter(p) == program
    assert seccomp._read_cached(file.name) == program


def test_unwritable_cache_only_costs_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(seccomp, "cache_dir", lambda: str(tmp_path / "file" / "below"))
    assert answer(policy(rule("getpid")), 39) == ALLOW

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyrt.base.errors import InvalidSpec
from pyrt.model import oci
from pyrt.runtime.devices_bpf import ALWAYS, Rule, allows, program, rules_of, v1_lines
from pyrt.runtime.spec.defaults import ALL_DEVICES, DEVICE_RULES

TYPES = {"b": 1, "c": 2}
RIGHTS = {"m": 1, "r": 2, "w": 4}


def run(code: bytes, type_: str, major: int, minor: int, access: str) -> bool:
    """A BPF machine just large enough: the program of one rule list on one request (kernel's bpf/standardization)."""
    context = (sum(RIGHTS[letter] for letter in access) << 16 | TYPES[type_], major, minor)
    insns = [struct.unpack_from("=BBhi", code, at) for at in range(0, len(code), 8)]
    reg = [0] * 11
    at = 0
    for _ in range(10_000):
        op, registers, off, imm = insns[at]
        dst, src = registers & 15, registers >> 4
        at += 1
        if op == 0x61:
            reg[dst] = context[off // 4]
        elif op == 0xBC:
            reg[dst] = reg[src]
        elif op == 0xB7:
            reg[dst] = imm
        elif op == 0x54:
            reg[dst] &= imm & 0xFFFFFFFF
        elif op == 0x74:
            reg[dst] >>= imm
        elif op == 0x55:
            at += off if reg[dst] != imm else 0
        elif op == 0x45:
            at += off if reg[dst] & imm else 0
        elif op == 0x05:
            at += off
        elif op == 0x95:
            return bool(reg[0])
        else:
            raise AssertionError(hex(op))
    raise AssertionError("it does not end")


numbers = st.one_of(st.none(), st.integers(0, 3))
rule = st.builds(
    oci.LinuxDeviceCgroup,
    allow=st.booleans(),
    type=st.sampled_from(["a", "b", "c", ""]),
    major=numbers,
    minor=numbers,
    access=st.sampled_from(["rwm", "r", "w", "m", "rw", "rm", "wm", ""]),
)
requests = st.tuples(st.sampled_from("bc"), st.integers(0, 3), st.integers(0, 3), st.sampled_from(["r", "w", "m", "rw", "rwm"]))


@settings(max_examples=120, deadline=None)
@given(st.lists(rule, max_size=8), st.lists(requests, min_size=1, max_size=10))
def test_the_program_does_what_the_rules_say(devices: list[oci.LinuxDeviceCgroup], asked: list[tuple[str, int, int, str]]) -> None:
    rules = rules_of(devices)
    code = program(rules)
    for request in asked:
        assert (code is None or run(code, *request)) == allows(rules, *request), request


@settings(max_examples=60, deadline=None)
@given(st.lists(rule, max_size=8), requests)
def test_rules_that_are_left_out_would_not_have_mattered(devices: list[oci.LinuxDeviceCgroup], asked: tuple[str, int, int, str]) -> None:
    whole = [Rule(False)]
    for device in devices:
        whole += rules_of([device])[: -len(ALWAYS)][-1:]
    assert allows(rules_of(devices), *asked) == allows([*whole_of(devices)], *asked)


def whole_of(devices: list[oci.LinuxDeviceCgroup]) -> list[Rule]:
    """The list as it is written, nothing left out."""
    found = [Rule(False)]
    for device in devices:
        everything = (device.type or "a") == "a"
        access = sum(RIGHTS[letter] for letter in device.access or "rwm")
        major, minor = (None, None) if everything else (device.major, device.minor)
        found.append(Rule(device.allow, device.type or "a", major, minor, access))
    return [*found, *ALWAYS]


def test_docker_s_rules() -> None:
    rules = rules_of(DEVICE_RULES)
    code = program(rules)
    assert code is not None
    assert run(code, "c", 1, 3, "rw") and run(code, "c", 5, 2, "rw") and run(code, "c", 136, 7, "rw")
    assert run(code, "b", 8, 0, "m"), "nodes may be made"
    assert not run(code, "b", 8, 0, "r"), "but not opened"
    assert not run(code, "c", 1, 1, "r"), "/dev/mem"
    assert not run(code, "c", 10, 229, "rw"), "/dev/fuse"


def test_nothing_denied_takes_no_program() -> None:
    assert program(rules_of(ALL_DEVICES)) is None
    assert v1_lines(rules_of(ALL_DEVICES)) == []


def test_no_rules_mean_that_only_the_usual_devices_work() -> None:
    rules = rules_of(())
    assert allows(rules, "c", 1, 3, "rw") and not allows(rules, "c", 10, 200, "r")


def test_rights_are_decided_one_by_one() -> None:
    rules = rules_of(
        [
            oci.LinuxDeviceCgroup(allow=True, type="c", major=7, minor=7, access="rw"),
            oci.LinuxDeviceCgroup(allow=False, type="c", major=7, minor=7, access="w"),
        ]
    )
    assert allows(rules, "c", 7, 7, "r") and not allows(rules, "c", 7, 7, "w") and not allows(rules, "c", 7, 7, "rw")


def test_lines_for_v1() -> None:
    lines = v1_lines(rules_of([oci.LinuxDeviceCgroup(allow=True, type="b", major=8, access="r")]))
    assert lines[0] == ("devices.deny", "a")
    assert ("devices.allow", "b 8:* r") in lines
    assert ("devices.allow", "c 136:* rwm") in lines


@pytest.mark.parametrize(
    ("device", "text"),
    [
        (oci.LinuxDeviceCgroup(allow=True, type="z"), r"linux.resources.devices\[0\].type: device type 'z'"),
        (oci.LinuxDeviceCgroup(allow=True, access="rx"), r"linux.resources.devices\[0\].access"),
        (oci.LinuxDeviceCgroup(allow=True, type="c", major=1 << 40), "too large"),
    ],
)
def test_nonsense_names_its_place(device: oci.LinuxDeviceCgroup, text: str) -> None:
    with pytest.raises(InvalidSpec, match=text):
        rules_of([device])

"""Which devices a container may open and make: rules as a BPF program for cgroup v2, as lines for v1.

The rules are an ordered list; for each right (read, write, mknod) the last rule that matches decides
(config-linux.md "Allowed Device list"). A container starts from "nothing", and ends with the devices that every
container gets, as in runc.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from msgspec import Struct

from pyrt.base.errors import InvalidSpec
from pyrt.model import oci

__all__ = ["ALWAYS", "Rule", "allows", "program", "rules_of", "v1_lines"]

_MKNOD, _READ, _WRITE = 1, 2, 4  # BPF_DEVCG_ACC_*
_RIGHTS = {"m": _MKNOD, "r": _READ, "w": _WRITE}
_ALL = 7
_TYPES = {"b": 1, "c": 2}  # BPF_DEVCG_DEV_*


class Rule(Struct, frozen=True):
    """``type`` is a, b or c; None stands for every number; ``access`` is a mask of the three rights."""

    allow: bool
    type: str = "a"
    major: int | None = None
    minor: int | None = None
    access: int = _ALL

    @property
    def everything(self) -> bool:
        """Matches whatever is asked."""
        return self.type == "a" and self.access == _ALL

    def matches(self, type_: str, major: int, minor: int) -> bool:
        """Whether the rule speaks of this device."""
        return (
            self.type in ("a", type_)
            and (self.type == "a" or self.major is None or self.major == major)
            and (self.type == "a" or self.minor is None or self.minor == minor)
        )


def _char(major: int, minor: int | None) -> Rule:
    return Rule(True, "c", major, minor)


ALWAYS: tuple[Rule, ...] = (
    Rule(True, "c", access=_MKNOD),
    Rule(True, "b", access=_MKNOD),
    _char(1, 3),  # null
    _char(1, 5),  # zero
    _char(1, 7),  # full
    _char(1, 8),  # random
    _char(1, 9),  # urandom
    _char(5, 0),  # tty
    _char(5, 2),  # ptmx
    _char(136, None),  # terminals
)
"""What every container may do: making nodes, the default devices (config-linux.md), and its terminals."""


def rules_of(devices: Sequence[oci.LinuxDeviceCgroup]) -> tuple[Rule, ...]:
    """The whole list for a container: deny all, the spec's rules, `ALWAYS`; without rules that a later one overrules.

    Raises InvalidSpec for an unknown type or right.
    """
    found = [Rule(False)]
    for index, device in enumerate(devices):
        found.append(_rule(device, f"linux.resources.devices[{index}]"))
    found += ALWAYS
    return _effective(found)


def _rule(device: oci.LinuxDeviceCgroup, path: str) -> Rule:
    type_ = device.type or "a"
    if type_ == "u":
        type_ = "c"
    if type_ not in ("a", "b", "c"):
        raise InvalidSpec(f"device type {type_!r} is none of a, b, c", f"{path}.type")
    access = 0
    for letter in device.access or "rwm":
        if letter not in _RIGHTS:
            raise InvalidSpec(f"device access {device.access!r} may only have r, w and m", f"{path}.access")
        access |= _RIGHTS[letter]
    major = None if device.major is None or device.major < 0 else device.major
    minor = None if device.minor is None or device.minor < 0 else device.minor
    for number, name in ((major, "major"), (minor, "minor")):
        if number is not None and number >= 1 << 31:
            raise InvalidSpec(f"device number {number} is too large", f"{path}.{name}")
    return Rule(device.allow, type_, None if type_ == "a" else major, None if type_ == "a" else minor, access)


def _effective(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    kept: list[Rule] = []
    rights: dict[tuple[str, int | None, int | None], int] = {}
    for rule in reversed(rules):
        key = (rule.type, rule.major, rule.minor)
        taken = rights.get(key, 0)
        if rule.access & ~taken:
            kept.append(rule)
            rights[key] = taken | rule.access
        if rule.everything:
            break
    kept.reverse()
    return tuple(kept)


def allows(rules: Sequence[Rule], type_: str, major: int, minor: int, access: str) -> bool:
    """What the rules say about opening or making one device; the meaning that `program` and `v1_lines` have to have."""
    for letter in access:
        for rule in reversed(rules):
            if rule.matches(type_, major, minor) and rule.access & _RIGHTS[letter]:
                if not rule.allow:
                    return False
                break
        else:
            return False
    return True


def allows_everything(rules: Sequence[Rule]) -> bool:
    """True when no device is denied, so that nothing has to be done."""
    return all(rule.allow for rule in rules) and any(rule.everything for rule in rules)


# -- cgroup v2 -------------------------------------------------------------------------------------------------------

_INSN = struct.Struct("=BBhi")
_R0, _R1, _TYPE, _ACCESS, _MAJOR, _MINOR = 0, 1, 2, 3, 4, 5


def _insn(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    return _INSN.pack(code, src << 4 | dst, off, imm)


def _return(value: int) -> list[bytes]:
    return [_insn(0xB7, _R0, imm=value), _insn(0x95)]  # mov64 r0, value; exit


_PROLOGUE = [
    _insn(0x61, _TYPE, _R1, 0),  # struct bpf_cgroup_dev_ctx: access << 16 | type, major, minor
    _insn(0xBC, _ACCESS, _TYPE),
    _insn(0x54, _TYPE, imm=0xFFFF),
    _insn(0x74, _ACCESS, imm=16),
    _insn(0x61, _MAJOR, _R1, 4),
    _insn(0x61, _MINOR, _R1, 8),
]


def _rule_code(rule: Rule) -> list[bytes]:
    """Returns a verdict, or falls through with the rights that are still to be decided in the access register."""
    if rule.allow:
        body = _return(1)
        if rule.access != _ALL:
            body = [_insn(0x54, _ACCESS, imm=~rule.access & 0xFFFF), _insn(0x55, _ACCESS, off=2), *body]
    else:
        body = _return(0)
        if rule.access != _ALL:
            body = [_insn(0x45, _ACCESS, off=1, imm=rule.access), _insn(0x05, off=2), *body]
    tests = []
    if rule.type != "a":
        tests.append((_TYPE, _TYPES[rule.type]))
        if rule.major is not None:
            tests.append((_MAJOR, rule.major))
        if rule.minor is not None:
            tests.append((_MINOR, rule.minor))
    code: list[bytes] = []
    for index, (register, value) in enumerate(tests):
        code.append(_insn(0x55, register, off=len(tests) - 1 - index + len(body), imm=value))  # jne: next rule
    return code + body


def program(rules: Sequence[Rule]) -> bytes | None:
    """A BPF_PROG_TYPE_CGROUP_DEVICE program (struct bpf_insn[]), or None when everything is allowed.

    Last rule first, since the last one that matches decides.
    """
    if allows_everything(rules):
        return None
    code = list(_PROLOGUE)
    for rule in reversed(rules):
        code += _rule_code(rule)
        if rule.everything:
            return b"".join(code)  # the verifier refuses what cannot be reached
    return b"".join(code + _return(0))


# -- cgroup v1 -------------------------------------------------------------------------------------------------------


def v1_lines(rules: Sequence[Rule]) -> list[tuple[str, str]]:
    """(file, line) to write, in order: "devices.deny" or "devices.allow" (kernel's cgroup-v1/devices.rst)."""
    if allows_everything(rules):
        return []
    return [("devices.allow" if rule.allow else "devices.deny", _line(rule)) for rule in rules]


def _line(rule: Rule) -> str:
    if rule.type == "a":
        return "a"
    major = "*" if rule.major is None else rule.major
    minor = "*" if rule.minor is None else rule.minor
    rights = "".join(letter for letter in "rwm" if rule.access & _RIGHTS[letter])
    return f"{rule.type} {major}:{minor} {rights}"

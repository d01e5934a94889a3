"""The C library, typed: the only importer of the cffi module.

Every number of `csrc/pyrt.h` is an attribute of this package without its `PYRT_` prefix (`OP_MOUNT`, `HOST`, `F_OPTIONAL`,
`AT_ROOT`, `MSG_EXITED`, …), read from the header by cffi and written down nowhere else. Failures of C functions become
`OSError`; what they mean for a container is said where its id is known (`pyrt.runtime`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pyrt.native._pyrt import ffi, lib

__all__ = ["HEADER_SIZE", "OP_SIZE", "check", "ffi", "lib", "op_kind", "op_name", "validate"]

if TYPE_CHECKING:

    def __getattr__(name: str) -> int: ...


def _constants() -> dict[str, int]:
    found: dict[str, int] = {}
    for name in dir(lib):
        if name.startswith("PYRT_"):
            value = getattr(lib, name)
            if isinstance(value, int):
                found[name[5:]] = value
    return found


globals().update(_constants())

OP_SIZE: int = ffi.sizeof("struct pyrt_op")
HEADER_SIZE: int = ffi.sizeof("struct pyrt_plan_header")


def check(rc: int, what: str) -> int:
    """Returns rc, or raises OSError when it is a negative errno; `what` names the step."""
    if rc < 0:
        raise OSError(-rc, f"{what}: {os.strerror(-rc)}")
    return rc


def op_name(code: int) -> str:
    """The op's name as `pyrt explain` says it ("mount", "pivot_root"); "op N" for a number that no op has."""
    text = lib.pyrt_op_name(code)
    return ffi.string(text).decode() if text != ffi.NULL else f"op {code}"


def op_kind(code: int) -> tuple[str, str, int]:
    """What an op's five strings and five numbers hold, and on which sides it may stand.

    Strings: `-` unused, `s` string, `0`-`4` bytes whose length is that number, `a`-`e` likewise a list. Numbers: `.` any,
    `S` slot, `N` slot or none, `A` host or root. Sides: bit 1 host before clone, 2 host after, 4 container. Raises KeyError
    for a number that no op has.
    """
    out = ffi.new("char[11]")
    sides = ffi.new("uint8_t *")
    if lib.pyrt_op_kind(code, out, sides) < 0:
        raise KeyError(code)
    text = ffi.string(out).decode()
    return text[:5], text[5:], sides[0]


def validate(plan: bytes) -> None:
    """Checks an encoded plan as the executor will. Raises ValueError with the op's index and the reason."""
    error: Any = ffi.new("struct pyrt_error *")
    if lib.pyrt_plan_check(plan, len(plan), error) < 0:
        where = f"op {error.op} {op_name(error.code)}" if error.op >= 0 else "plan"
        raise ValueError(f"{where}: {ffi.string(error.detail).decode(errors='replace')}")

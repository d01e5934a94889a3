"""A plan as the bytes that the executor runs (`csrc/pyrt.h`), and back."""

from __future__ import annotations

import struct

from pyrt import native as n
from pyrt.base.errors import InvalidRequest
from pyrt.runtime.plan.ops import Op, Plan, Text

__all__ = ["decode", "encode"]

_OP = struct.Struct("=HBB5I5Q")
_HEADER = struct.Struct("=IHHIIIIII")
_PADS = tuple((0,) * (5 - used) for used in range(6))


def encode(plan: Plan) -> bytes:
    """The plan's bytes; equal strings stand in the blob once.

    Raises InvalidRequest for a string with a NUL byte and for a plan that is too large, struct.error for a number that does
    not fit (the constructors of `ops` make none).
    """
    blob = bytearray(1)
    places: dict[Text, int] = {"": 0, b"": 0}
    flat: list[int] = []  # all fields of all ops: one pack call is much faster than one per op
    pads = _PADS
    for op in plan.ops:
        strings, numbers = op.s, op.n
        flat += (op.code, op.side, op.flags)
        for text in strings:
            place = places.get(text)
            if place is None:
                place = places[text] = len(blob)
                blob += _bytes(text)
            flat.append(place)
        flat += pads[len(strings)]
        flat += numbers
        flat += pads[len(numbers)]
    count = len(plan.ops)
    blob_at = n.HEADER_SIZE + count * n.OP_SIZE
    total = blob_at + len(blob)
    if total > n.PLAN_MAX_SIZE or count > n.PLAN_MAX_OPS:
        raise InvalidRequest(f"the plan is too large: {count} ops and {total} bytes; at most {n.PLAN_MAX_OPS} and {n.PLAN_MAX_SIZE}")
    header = _HEADER.pack(n.PLAN_MAGIC, n.PLAN_VERSION, n.HEADER_SIZE, total, count, n.HEADER_SIZE, blob_at, len(blob), 0)
    return b"".join((header, struct.pack("=" + "HBB5I5Q" * count, *flat), blob))


def _bytes(text: Text) -> bytes:
    """The text as it stands in the blob."""
    if not isinstance(text, str):
        return text + b"\0"
    raw = text.encode("utf-8", "surrogateescape") + b"\0"
    if raw.find(0) != len(raw) - 1:
        raise InvalidRequest(f"{text!r}: a NUL byte cannot be passed to the kernel")
    return raw


def decode(data: bytes) -> tuple[Op, ...]:
    """The ops of an encoded plan: five numbers each, strings as str (data and lists as bytes), `why` not being part of it.

    Raises ValueError for bytes that the executor would refuse.
    """
    n.validate(data)
    _, _, _, _, count, at, blob_at, _, _ = _HEADER.unpack_from(data)
    found = []
    for index in range(count):
        code, side, flags, *rest = _OP.unpack_from(data, at + index * n.OP_SIZE)
        offsets, numbers = rest[:5], tuple(rest[5:])
        kinds = n.op_kind(code)[0]
        strings = tuple(_string(data, blob_at + offset, kind, numbers) for offset, kind in zip(offsets, kinds, strict=True))
        found.append(Op(code, side, strings, numbers, "", flags))
    return tuple(found)


def _string(data: bytes, at: int, kind: str, numbers: tuple[int, ...]) -> Text:
    if kind in "s-":
        return data[at : data.index(0, at)].decode("utf-8", "surrogateescape")
    length = numbers[ord(kind) - ord("a" if kind >= "a" else "0")]
    return data[at : at + length]

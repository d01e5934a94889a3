"""A plan as the bytes that the executor runs (`csrc/pyrt.h`), and back."""

from __future__ import annotations

import struct

from pyrt import native as n
from pyrt.base.errors import InvalidRequest
from pyrt.runtime.plan.ops import Op, Plan, Text

__all__ = ["decode", "encode"]

_OP = struct.Struct("=HBB5I5Q")
_HEADER = struct.Struct("=IHHIIIIII")
_NO_STRINGS = (0, 0, 0, 0, 0)
_PADS = tuple((0,) * (5 - used) for used in range(6))


def encode(plan: Plan) -> bytes:
    """The plan's bytes; equal strings stand in the blob once.

    Raises InvalidRequest for a string with a NUL byte and for a plan that is too large, struct.error for a number that does
    not fit (the constructors of `ops` make none).
    """
    blob = bytearray(1)
    places: dict[Text, int] = {"": 0, b"": 0}
    packed: list[bytes] = []
    pack, pads = _OP.pack, _PADS
    for op in plan.ops:
        strings = op.s
        numbers = op.n
        if strings:
            offsets = []
            for text in strings:
                place = places.get(text)
                if place is None:
                    place = places[text] = len(blob)
                    if isinstance(text, str):
                        raw = text.encode("utf-8", "surrogateescape")
                        if 0 in raw:
                            raise InvalidRequest(f"{text!r}: a NUL byte cannot be passed to the kernel")
                        blob += raw
                    else:
                        blob += text
                    blob += b"\0"
                offsets.append(place)
            offsets += pads[len(strings)]
            packed.append(pack(op.code, op.side, op.flags, *offsets, *numbers, *pads[len(numbers)]))
        else:
            packed.append(pack(op.code, op.side, op.flags, *_NO_STRINGS, *numbers, *pads[len(numbers)]))
    count = len(packed)
    blob_at = n.HEADER_SIZE + count * n.OP_SIZE
    total = blob_at + len(blob)
    if total > n.PLAN_MAX_SIZE or count > n.PLAN_MAX_OPS:
        raise InvalidRequest(f"the plan is too large: {count} ops and {total} bytes; at most {n.PLAN_MAX_OPS} and {n.PLAN_MAX_SIZE}")
    header = _HEADER.pack(n.PLAN_MAGIC, n.PLAN_VERSION, n.HEADER_SIZE, total, count, n.HEADER_SIZE, blob_at, len(blob), 0)
    packed.append(bytes(blob))
    return b"".join([header, *packed])


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

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyrt import native as n
from pyrt.base.errors import InvalidRequest
from pyrt.runtime.plan import ops
from pyrt.runtime.plan.encode import decode, encode
from pyrt.runtime.plan.ops import Op, Plan

HEAD = (ops.clone(0), ops.root("/r"))
TAIL = (ops.fds(0, 0), ops.execve(["true"], []))

words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
numbers = st.integers(0, (1 << 64) - 1)
middle = st.lists(
    st.one_of(
        st.builds(ops.sysctl, words, words),
        st.builds(ops.hostname, words),
        st.builds(lambda s, t, f, o, g: ops.mount(s, t, f, o, g), words, words, words, st.lists(words, max_size=4), numbers),
        st.builds(ops.mkdir, words, numbers, numbers, numbers),
        st.builds(ops.caps, numbers, numbers, numbers, numbers),
        st.builds(ops.write_file, words, st.binary(max_size=50), numbers),
        st.builds(lambda u, g, groups: ops.setid(u, g, groups), numbers, numbers, st.lists(st.integers(0, 2**32 - 1), max_size=5)),
        st.builds(lambda p, a, e, t: ops.hook(p, a, e, t, "{", "}", host=False), words, st.lists(words), st.lists(words), numbers),
    ),
    max_size=30,
)


def padded(op: Op, kinds: str) -> Op:
    """As `decode` gives it: five of each, lists and data as bytes, no reason."""
    strings = [*op.s, *([""] * (5 - len(op.s)))]
    shaped = tuple(
        (text if isinstance(text, str) else text.decode()) if kind in "s-" else (text if isinstance(text, bytes) else text.encode())
        for text, kind in zip(strings, kinds, strict=True)
    )
    return Op(op.code, op.side, shaped, (*op.n, *([0] * (5 - len(op.n)))), "", op.flags)


@settings(max_examples=60, deadline=None)
@given(middle)
def test_what_is_encoded_can_be_decoded(some: list[Op]) -> None:
    plan = Plan((*HEAD, *some, *TAIL))
    assert decode(encode(plan)) == tuple(padded(op, n.op_kind(op.code)[0]) for op in plan.ops)


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=40), st.integers(0))
def test_flipped_bytes_are_decoded_or_refused_but_never_more(noise: bytes, place: int) -> None:
    data = bytearray(encode(Plan((*HEAD, ops.sysctl("a/b", "1"), *TAIL))))
    at = place % len(data)
    data[at : at + len(noise)] = noise[: len(data) - at]
    try:
        decode(bytes(data))
    except ValueError:
        pass


def test_equal_strings_stand_in_the_blob_once() -> None:
    long = "x" * 1000
    once = encode(Plan((*HEAD, ops.mask(long), *TAIL)))
    thrice = encode(Plan((*HEAD, *[ops.mask(long)] * 3, *TAIL)))
    assert len(thrice) == len(once) + 2 * n.OP_SIZE


def test_the_same_plan_gives_the_same_bytes() -> None:
    assert encode(Plan((*HEAD, *TAIL))) == encode(Plan((*HEAD, *TAIL)))


def test_a_nul_byte_is_refused_and_quoted() -> None:
    with pytest.raises(InvalidRequest, match=r"'a\\x00b': a NUL byte"):
        encode(Plan((*HEAD, ops.hostname("a\0b"), *TAIL)))


def test_names_that_are_not_utf8_survive() -> None:
    raw = b"/\xff\xfe".decode("utf-8", "surrogateescape")
    assert decode(encode(Plan((*HEAD, ops.mask(raw), *TAIL))))[2].s[0] == raw


def test_a_plan_that_is_too_large_is_one_clear_line() -> None:
    with pytest.raises(InvalidRequest, match="too large: 16388 ops"):
        encode(Plan((*HEAD, *[ops.setsid()] * n.PLAN_MAX_OPS, *TAIL)))


def test_bytes_that_are_no_plan_are_refused() -> None:
    for data in (b"", b"PYRP", bytes(64), encode(Plan((*HEAD, *TAIL)))[:-1]):
        with pytest.raises(ValueError):
            decode(data)

"""The simplifier must never change what a filter answers."""

from __future__ import annotations

import random
import struct

import pytest

from pyrt.native import bpf
from pyrt.native.bpf import AND, ARCH, JA, JEQ, JGE, JGT, JSET, LOAD, NR, RET

X86_64, X86 = 0xC000003E, 0x40000003
ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050001, 0


def data(nr: int, arch: int = X86_64, *args: int) -> bytes:
    return struct.pack("=IIQ6Q", nr, arch, 0, *(*args, *[0] * (6 - len(args))))


def by_hand(calls: dict[int, int]) -> list[bpf.Instruction]:
    """Call by call, as libseccomp without its tree writes it; call 7 looks at its first argument."""
    program: list[bpf.Instruction] = [(LOAD, 0, 0, ARCH), (JEQ, 1, 0, X86_64), (RET, 0, 0, KILL), (LOAD, 0, 0, NR)]
    for nr, action in calls.items():
        program += [(JEQ, 0, 1, nr), (RET, 0, 0, action)]
    program += [
        (JEQ, 0, 5, 7),
        (LOAD, 0, 0, 16),
        (AND, 0, 0, 0xF0),
        (JEQ, 0, 1, 0x30),
        (RET, 0, 0, ALLOW),
        (RET, 0, 0, ERRNO),
        (RET, 0, 0, ERRNO),
    ]
    return program


def test_same_answers_and_shorter() -> None:
    program = by_hand(dict.fromkeys(range(20, 300), ALLOW))
    simpler = bpf.decode(bpf.simplify(bpf.encode(program)))
    assert len(simpler) < 30
    for arch in (X86_64, X86, 1, 0):
        for nr in [*range(400), 0x3FFFFFFF, 0x40000000, 0xFFFFFFFF]:
            for arg in (0, 0x30, 0x31, 0x40):
                assert bpf.run(program, data(nr, arch, arg)) == bpf.run(simpler, data(nr, arch, arg))


@pytest.mark.parametrize("seed", range(20))
def test_random_policies(seed: int) -> None:
    rnd = random.Random(seed)
    calls = {nr: rnd.choice((ALLOW, ERRNO, KILL)) for nr in rnd.sample(range(8, 1000), rnd.randrange(1, 400))}
    program = by_hand(calls)
    simpler = bpf.decode(bpf.simplify(bpf.encode(program)))
    assert all(code not in (JEQ, JGE, JGT, JSET) or max(jt, jf) <= 255 for code, jt, jf, _ in simpler)
    for nr in range(1010):
        assert bpf.run(program, data(nr, X86_64, 0x30)) == bpf.run(simpler, data(nr, X86_64, 0x30))


def test_x32_bit_is_kept_apart() -> None:
    program = [
        (LOAD, 0, 0, ARCH),
        (JEQ, 0, 4, X86_64),
        (LOAD, 0, 0, NR),
        (JSET, 2, 0, 0x40000000),
        *[(JEQ, 0, 1, 5)],
        (RET, 0, 0, ALLOW),
        (RET, 0, 0, ERRNO),
    ]
    program += [(RET, 0, 0, ERRNO)] * 60  # so that there is something to gain
    simpler = bpf.decode(bpf.simplify(bpf.encode(program)))
    assert len(simpler) < len(program)
    for nr in (4, 5, 6, 0x40000005, 0x40000004, 0x80000005, 0xC0000005):
        assert bpf.run(program, data(nr)) == bpf.run(simpler, data(nr))


@pytest.mark.parametrize(
    "program",
    [
        [(0x07, 0, 0, 0), (RET, 0, 0, ALLOW)],  # TAX
        [(LOAD, 0, 0, NR), (AND, 0, 0, 0xFF), (JEQ, 0, 0, 1), (RET, 0, 0, ALLOW)],  # masks the number
        [(LOAD, 0, 0, ARCH), (JGT, 0, 0, 1), (RET, 0, 0, ALLOW)],  # orders architectures
        [(JA, 0, 0, 50), (RET, 0, 0, ALLOW)],  # jumps out
    ],
)
def test_what_it_does_not_understand_stays(program: list[bpf.Instruction]) -> None:
    raw = bpf.encode(program)
    assert bpf.simplify(raw) == raw


def test_run_refuses_nonsense() -> None:
    with pytest.raises(ValueError, match="end"):
        bpf.run([(LOAD, 0, 0, NR)], data(1))
    with pytest.raises(ValueError, match="0x7"):
        bpf.run([(0x07, 0, 0, 0)], data(1))

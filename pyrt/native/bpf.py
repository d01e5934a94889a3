"""Classic BPF of seccomp filters: an interpreter, and a simplifier that makes filters load and run several times
faster.

Since Linux 5.11 loading a filter runs it once for each call number and architecture (kernel/seccomp.c,
seccomp_cache_prepare), so the length of the path through the filter is paid hundreds of times at each start of a
container. libseccomp's programs test call by call; `simplify` makes an equal program that searches ranges of call
numbers:

1. The call's number and architecture are only ever compared with constants. Between two neighbouring constants the
   program cannot tell numbers apart, so one run for each interval, with all else unknown, covers all 2**32 of them.
2. Such a run is partial evaluation: jumps on known values are taken, what looks at arguments stays as residual code.
3. Intervals with equal outcome are joined and searched by a balanced tree of "greater or equal" jumps.

Everything is a graph of nodes until the end, and equal nodes are one. A program with an instruction that is not
understood here is given back unchanged. Sources: Documentation/networking/filter.rst, seccomp(2).
"""

from __future__ import annotations

import struct

LOAD, RET, JA, JEQ, JGT, JGE, JSET, AND = 0x20, 0x06, 0x05, 0x15, 0x25, 0x35, 0x45, 0x54
NR, ARCH = 0, 4  # offsets in struct seccomp_data
_JUMPS = (JEQ, JGT, JGE, JSET)
_U32 = 0xFFFFFFFF

Instruction = tuple[int, int, int, int]


def decode(program: bytes) -> list[Instruction]:
    """struct sock_filter[] as tuples (code, jt, jf, k)."""
    return list(struct.iter_unpack("=HBBI", program))


def encode(instructions: list[Instruction]) -> bytes:
    """The reverse of `decode`."""
    return b"".join(struct.pack("=HBBI", *i) for i in instructions)


def run(program: list[Instruction], data: bytes) -> int:
    """The filter's answer (SECCOMP_RET_*) for one struct seccomp_data. Raises ValueError for what the kernel would
    refuse.
    """
    pc = a = 0
    while 0 <= pc < len(program):
        code, jt, jf, k = program[pc]
        pc += 1
        if code == LOAD:
            a = int(struct.unpack_from("=I", data, k)[0])
        elif code == RET:
            return k
        elif code == JA:
            pc += k
        elif code == AND:
            a &= k
        elif code in _JUMPS:
            pc += jt if _holds(code, a, k) else jf
        else:
            raise ValueError(f"BPF code {code:#x} is not one of a seccomp filter's")
    raise ValueError("the program runs past its end")


def _holds(code: int, a: int, k: int) -> bool:
    if code == JEQ:
        return a == k
    if code == JGT:
        return a > k
    if code == JGE:
        return a >= k
    return bool(a & k)


# -- the graph -------------------------------------------------------------------------------------------------------

Node = tuple[int, int, int, int]
"""(code, k, node when true, node when false); LOAD and AND go on at "true". Nodes are known by their index in a
_Graph, and a node's successors have smaller indexes than itself.
"""


class _NotUnderstood(Exception):
    pass


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.index: dict[Node, int] = {}

    def add(self, code: int, k: int, true: int = -1, false: int = -1) -> int:
        if code in _JUMPS and true == false:
            return true
        node = (code, k, true, false)
        found = self.index.get(node)
        if found is None:
            found = self.index[node] = len(self.nodes)
            self.nodes.append(node)
        return found


def simplify(program: bytes) -> bytes:
    """An equal program with short paths; `program` itself where that cannot be done or is no gain."""
    instructions = decode(program)
    graph = _Graph()
    try:
        entry = _build(graph, instructions)
    except (_NotUnderstood, RecursionError):
        return program
    simpler = _emit(graph, entry)
    if len(simpler) >= len(instructions):
        return program
    return encode(simpler)


def _build(graph: _Graph, program: list[Instruction]) -> int:
    archs, points = _constants(program)
    unknown_arch = next(a for a in range(1, len(archs) + 2) if a not in archs)
    entry = _search_number(graph, program, unknown_arch, points)
    for arch in sorted(archs):  # the last one stands first: 64-bit architectures have the higher numbers
        entry = graph.add(JEQ, arch, _search_number(graph, program, arch, points), entry)
    return graph.add(LOAD, ARCH, entry)


def _constants(program: list[Instruction]) -> tuple[set[int], list[int]]:
    """The architectures that the program knows, and the starts of the intervals of call numbers that it can tell apart.

    One pass forward is enough to know what may stand in A at each instruction, because BPF never jumps back."""
    archs: set[int] = set()
    points = {0}
    holds: list[set[int]] = [set() for _ in range(len(program) + 1)]
    for pc, (code, jt, jf, k) in enumerate(program):
        after = holds[pc]
        if code in _JUMPS and ARCH in after:
            if code != JEQ:
                raise _NotUnderstood
            archs.add(k)
        if code in _JUMPS and NR in after:
            if code == JSET:
                if k < 1 << 24 or k & (k - 1):
                    raise _NotUnderstood
                points.update(range(0, _U32 + 1, k))
            else:
                points.update((k, k + 1))
        if code == LOAD:
            after = {k}
        targets = (jt, jf) if code in _JUMPS else (k,) if code == JA else () if code == RET else (0,)
        for target in targets:
            if pc + 1 + target > len(program):
                raise _NotUnderstood
            holds[pc + 1 + target] |= after
    return archs, sorted(p for p in points if p <= _U32)


def _search_number(graph: _Graph, program: list[Instruction], arch: int, points: list[int]) -> int:
    walk = _Walk(graph, program, arch, points)
    starts: list[int] = []
    targets: list[int] = []
    for index, first in enumerate(points):
        last = points[index + 1] - 1 if index + 1 < len(points) else _U32
        target = walk.outcome(first, last)
        if not targets or targets[-1] != target:
            starts.append(first)
            targets.append(target)
    return graph.add(LOAD, NR, _tree(graph, starts, targets)) if len(targets) > 1 else targets[0]


def _tree(graph: _Graph, starts: list[int], targets: list[int]) -> int:
    if len(targets) == 1:
        return targets[0]
    if len(targets) == 3 and targets[0] == targets[2] and starts[2] == starts[1] + 1:
        return graph.add(JEQ, starts[1], targets[1], targets[0])
    middle = len(targets) // 2
    low = _tree(graph, starts[:middle], targets[:middle])
    high = _tree(graph, starts[middle:], targets[middle:])
    return graph.add(JGE, starts[middle], high, low)


class _Walk:
    """Partial evaluation for one architecture."""

    def __init__(self, graph: _Graph, program: list[Instruction], arch: int, points: list[int]) -> None:
        self.graph = graph
        self.program = program
        self.arch = arch
        self.points = points
        self.seen: dict[int, int] = {}  # residual code from an instruction on, when A is only known at run time
        self.first = self.last = 0

    def outcome(self, first: int, last: int) -> int:
        """The node that decides calls `first`..`last`, which the program must not be able to tell apart."""
        self.first, self.last = first, last
        self.seen = {}
        return self._step(0, 0)

    def _step(self, pc: int, known: int | None) -> int:
        """`known`: the value in A, the interval's first number standing for all of it; None: only known at run time."""
        number = False  # is A the call's number?
        while True:
            if pc >= len(self.program):
                raise _NotUnderstood
            if known is None and pc in self.seen:
                return self.seen[pc]
            code, jt, jf, k = self.program[pc]
            if code == RET:
                return self.graph.add(RET, k)
            if code == JA:
                pc += 1 + k
            elif code == LOAD and k == NR:
                known, number, pc = self.first, True, pc + 1
            elif code == LOAD and k == ARCH:
                known, number, pc = self.arch, False, pc + 1
            elif code in _JUMPS and known is not None:
                if number and not self._same_for_all(code, k):
                    raise _NotUnderstood
                pc += 1 + (jt if _holds(code, known, k) else jf)
            elif code == AND and known is not None:
                raise _NotUnderstood  # no filter masks the number or the architecture
            elif code in (LOAD, AND):
                node = self.graph.add(code, k, self._step(pc + 1, None))
                self.seen[pc] = node
                return node
            elif code in _JUMPS:
                node = self.graph.add(code, k, self._step(pc + 1 + jt, None), self._step(pc + 1 + jf, None))
                self.seen[pc] = node
                return node
            else:
                raise _NotUnderstood

    def _same_for_all(self, code: int, k: int) -> bool:
        if code != JSET:
            return _holds(code, self.first, k) == _holds(code, self.last, k)
        # one bit, and the interval does not cross a multiple of it
        return not k & (k - 1) and self.first // k == self.last // k


# -- back to instructions --------------------------------------------------------------------------------------------


def _emit(graph: _Graph, entry: int) -> list[Instruction]:
    """Lays the nodes out from the end to the start: every target is already placed when a jump needs its distance."""
    wanted = sorted(_reachable(graph, entry))
    backwards: list[Instruction] = []
    placed: dict[int, int] = {}  # node -> number of instructions from its first one to the end of the program

    def distance(node: int) -> int:
        return len(backwards) - placed[node]

    def near(node: int) -> None:
        """Sees to it that a jump prepended next or after next reaches `node`: by a copy of a return, or a long jump."""
        if distance(node) > 253:
            code, k, _, _ = graph.nodes[node]
            backwards.append((RET, 0, 0, k) if code == RET else (JA, 0, 0, distance(node)))
            placed[node] = len(backwards)

    for node in wanted:
        code, k, true, false = graph.nodes[node]
        if code == RET:
            backwards.append((RET, 0, 0, k))
        elif code in (LOAD, AND):
            if distance(true):
                backwards.append((JA, 0, 0, distance(true)))
            backwards.append((code, 0, 0, k))
        else:
            near(true)
            near(false)
            backwards.append((code, distance(true), distance(false), k))
        placed[node] = len(backwards)
    backwards.reverse()
    return backwards


def _reachable(graph: _Graph, entry: int) -> set[int]:
    found: set[int] = set()
    todo = [entry]
    while todo:
        node = todo.pop()
        if node >= 0 and node not in found:
            found.add(node)
            todo += graph.nodes[node][2:]
    return found

"""`pyrt explain` and `--trace`: a plan as a table, as JSON, as Chrome trace events; and one line for what failed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol

from pyrt import native as n
from pyrt.base.errors import errno_words
from pyrt.runtime.plan.hints import hint
from pyrt.runtime.plan.ops import Op, Plan
from pyrt.runtime.plan.words import words

__all__ = ["Timed", "chrome_trace", "error_line", "hint", "render", "side", "to_dict", "to_json", "words"]


class Timed(Protocol):
    """One op's times, as `pyrt.native.executor.TraceEntry` and `pyrt.model.run.TraceOp` have them (ns; 0: not run). The first has
    ``errno`` beside them, the second ``error``."""

    @property
    def begin_ns(self) -> int: ...
    @property
    def end_ns(self) -> int: ...


class Failed(Protocol):
    """What `error_line` needs of `pyrt.native.executor.OpError`."""

    @property
    def errno(self) -> int: ...
    @property
    def op(self) -> int: ...
    @property
    def detail(self) -> str: ...


def side(op: Op) -> str:
    """Where an op runs: "host", "container", or "after" (on the host, after the end)."""
    if op.flags & n.F_AT_EXIT:
        return "after"
    return "container" if op.side == n.CONTAINER else "host"


def _errno(times: Timed) -> int:
    found = getattr(times, "errno", None)
    return int(getattr(times, "error", 0) if found is None else found)


def _microseconds(times: Timed) -> str:
    if not times.begin_ns:
        return "-"
    return f"{(times.end_ns - times.begin_ns) / 1000:.1f}"


def render(plan: Plan, trace: Sequence[Timed] | None = None) -> str:
    """A numbered table, a line for each op; with ``trace`` also the microseconds that each took, and optional ops that failed."""
    rows = []
    for index, op in enumerate(plan.ops):
        note = words(op)
        if op.flags & n.F_OPTIONAL:
            note += " (may fail)"
        times = trace[index] if trace is not None and index < len(trace) else None
        if times is not None and _errno(times):
            note += f" (failed: {errno_words(_errno(times))})"
        row = [str(index), side(op), n.op_name(op.code), note, op.why]
        if trace is not None:
            row.insert(1, _microseconds(times) if times is not None else "-")
        rows.append(row)
    head = ["#", "SIDE", "OP", "WHAT", "WHY"]
    if trace is not None:
        head.insert(1, "µs")
    right = {0, 1} if trace is not None else {0}
    text = _table([head, *rows], right)
    return text + _summary(plan, trace) if trace is not None else text


def _table(rows: list[list[str]], right: set[int]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) if at in right else cell.ljust(width) for at, (cell, width) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def _summary(plan: Plan, trace: Sequence[Timed]) -> str:
    sums = {"host": 0, "container": 0, "after": 0}
    begun, ended = [], []
    for op, times in zip(plan.ops, trace, strict=False):
        if times.begin_ns:
            sums[side(op)] += times.end_ns - times.begin_ns
            if not op.flags & n.F_AT_EXIT:
                begun.append(times.begin_ns)
                ended.append(times.end_ns)
    whole = (max(ended) - min(begun)) / 1000 if begun else 0
    parts = ", ".join(f"{name} {value / 1000:.0f} µs" for name, value in sums.items())
    return f"{len(plan.ops)} ops: {parts}; first to last {whole:.0f} µs\n"


def to_dict(plan: Plan, trace: Sequence[Timed] | None = None) -> dict[str, Any]:
    """The plan for machines: version of the format, caller's fds, and the ops with names, words and raw arguments."""
    found = []
    for index, op in enumerate(plan.ops):
        entry: dict[str, Any] = {
            "index": index,
            "op": n.op_name(op.code),
            "code": op.code,
            "side": side(op),
            "words": words(op),
            "why": op.why,
            "optional": bool(op.flags & n.F_OPTIONAL),
            "strings": [_json_text(text) for text in op.s],
            "numbers": list(op.n),
        }
        if trace is not None and index < len(trace):
            times = trace[index]
            entry["ran"] = bool(times.begin_ns)
            entry["begin_ns"] = times.begin_ns
            entry["duration_ns"] = times.end_ns - times.begin_ns if times.begin_ns else 0
            entry["errno"] = _errno(times)
        found.append(entry)
    return {"version": n.PLAN_VERSION, "slots": plan.slots, "ops": found}


def _json_text(text: str | bytes) -> str | list[str]:
    if isinstance(text, str):
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if text.endswith(b"\0"):
        items = text[:-1].split(b"\0")
        if all(_is_text(item) for item in items):
            return [item.decode() for item in items]
    return text.decode() if _is_text(text) else "0x" + text.hex()


def _is_text(raw: bytes) -> bool:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return False
    return all(char.isprintable() or char in "\n\t" for char in text)


def to_json(plan: Plan, trace: Sequence[Timed] | None = None) -> str:
    """`to_dict` as JSON, an op a line."""
    data = to_dict(plan, trace)
    ops = ",\n".join("  " + json.dumps(entry, ensure_ascii=False) for entry in data["ops"])
    return f'{{"version": {data["version"]}, "slots": {data["slots"]}, "ops": [\n{ops}\n]}}\n'


def chrome_trace(plan: Plan, trace: Sequence[Timed]) -> str:
    """Chrome trace events (the JSON array format of the Trace Event Format): load it in Perfetto or chrome://tracing."""
    events: list[dict[str, Any]] = [
        {"name": "process_name", "ph": "M", "pid": 1, "tid": 0, "args": {"name": "pyrt"}},
        {"name": "thread_name", "ph": "M", "pid": 1, "tid": 1, "args": {"name": "host"}},
        {"name": "thread_name", "ph": "M", "pid": 1, "tid": 2, "args": {"name": "container"}},
    ]
    start = min((times.begin_ns for times in trace if times.begin_ns), default=0)
    for index, (op, times) in enumerate(zip(plan.ops, trace, strict=False)):
        if not times.begin_ns:
            continue
        details: dict[str, Any] = {"index": index, "words": words(op), "why": op.why}
        if _errno(times):
            details["error"] = errno_words(_errno(times))
        events.append(
            {
                "name": n.op_name(op.code),
                "cat": side(op),
                "ph": "X",
                "ts": (times.begin_ns - start) / 1000,
                "dur": (times.end_ns - times.begin_ns) / 1000,
                "pid": 1,
                "tid": 2 if op.side == n.CONTAINER else 1,
                "args": details,
            }
        )
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ns"}, ensure_ascii=False)


def error_line(plan: Plan, error: Failed) -> str:
    """One line for what failed: ``op 17 mount overlay on /: EINVAL (Invalid argument) at …: what to do``."""
    if 0 <= error.op < len(plan.ops):
        op = plan.ops[error.op]
        text, advice = f"op {error.op} {words(op)}", hint(op, error.errno)
    else:
        text, advice = "run the plan", ""
    text += f": {errno_words(error.errno)}"
    if error.detail:
        text += f" at {error.detail}"
    return f"{text}: {advice}" if advice else text

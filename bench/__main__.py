"""How long a container takes, from nothing to gone, side by side: `python -m bench` (as root).

Everything runs in one go, round-robin: turn after turn each contestant runs a few containers in a row, so that a busy moment of
the machine hits all of them alike. Milliseconds drift with the machine and its load; the ratios hold. Prints a table, writes
bench/results.json and draws bench/startup.svg.

The first container of each turn does not count: it meets the caches, and the teardown, that the one before it left. This favours the
peers, which on cgroup v1 wait 10 ms and more for the kernel's RCU when they move the first task after a quiet spell.
`--pause 0.1` counts just those: lone starts after a quiet tenth of a second.

    python -m bench [--turns 25] [--check] [--no-write]
    python -m bench --only floor,library,crun | --pause SECONDS     (neither writes files)
    python -m bench --parts          what each part of the isolation costs: the floor with more and more of it

--check ends with 1 when the project's promises do not hold: the library at most 1.5 x floor and 0.5 x crun, and at most 1.1 x
as much with 4 GiB resident in the caller.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.chart import Bar, draw
from bench.contestants import CHECKOUT, CONTESTANTS, Stepper, Workshop, start

WARM_UP = 1  # turns that do not count
BUSY = 0.5  # load average from which the figures are doubtful
IN_A_ROW = 4  # containers that count, in each turn
PARTS = (
    ("clone, exec, wait", ("--no-all",)),
    ("+ pid, mnt, uts, ipc, cgroup namespaces", ("--no-net", "--no-cgroup", "--no-overlay", "--no-mounts", "--no-pivot")),
    ("+ proc, dev, pts, shm, mqueue, sys, nodes, pivot_root", ("--no-net", "--no-cgroup", "--no-overlay")),
    ("+ overlay root", ("--no-net", "--no-cgroup")),
    ("+ cgroup directories made, entered and removed", ("--no-net",)),
    ("+ network namespace: the floor", ()),
)
PROMISES = (("library", "floor", 1.5), ("library", "crun", 0.5), ("library_4g", "library", 1.1))


@dataclass(frozen=True)
class Row:
    """One contestant's figures, in microseconds, and how many containers they stand on."""

    median: float
    p95: float
    best: float
    runs: int


def measure(steppers: Mapping[str, Stepper], turns: int, pause: float = 0) -> dict[str, Row]:
    """Runs all in turn, `turns` times; each turn begins with another one. With a pause each container stands alone."""
    keys = list(steppers)
    took: dict[str, list[int]] = {key: [] for key in keys}
    for number in range(turns + WARM_UP):
        first = number % len(keys)
        for key in keys[first:] + keys[:first]:
            microseconds = lone(steppers[key], pause) if pause else in_a_row(steppers[key])
            if number >= WARM_UP:
                took[key] += microseconds
    return {key: summary(values) for key, values in took.items()}


def in_a_row(stepper: Stepper) -> list[int]:
    """Microseconds of a few containers, one after the other, after one that does not count."""
    stepper.step()
    return [stepper.step() for _ in range(IN_A_ROW)]


def lone(stepper: Stepper, pause: float) -> list[int]:
    """Microseconds of one container after a quiet spell."""
    time.sleep(pause)
    return [stepper.step()]


def summary(values: Sequence[int]) -> Row:
    ordered = sorted(values)
    return Row(statistics.median(ordered), ordered[max(0, -(-len(ordered) * 95 // 100) - 1)], ordered[0], len(ordered))


def ratio(rows: Mapping[str, Row], key: str, to: str) -> float | None:
    return rows[key].median / rows[to].median if key in rows and to in rows else None


def cell(value: float | None) -> str:
    return f"{value:8.2f}" if value is not None else " " * 7 + "-"


def print_table(rows: Mapping[str, Row], labels: Mapping[str, str]) -> None:
    print(f"{'':46} {'median':>8} {'p95':>8} {'best':>8} {'x floor':>8} {'x crun':>8}")
    for key, row in rows.items():
        figures = " ".join(cell(value / 1000) for value in (row.median, row.p95, row.best))
        print(f"{labels[key]:46} {figures} {cell(ratio(rows, key, 'floor'))} {cell(ratio(rows, key, 'crun'))}")


def write(rows: Mapping[str, Row], labels: Mapping[str, str], ours: set[str], load: float) -> None:
    """bench/results.json and bench/startup.svg, with the load average that the machine had before the run."""
    uname = os.uname()
    machine = f"{uname.sysname} {uname.release.split('-')[0]}, {os.cpu_count()} CPUs, Python {sys.version.split()[0]}"
    results = {"unit": "us", "machine": machine, "load_before": round(load, 2), "rows": {key: asdict(row) for key, row in rows.items()}}
    (CHECKOUT / "bench" / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    bars = [Bar(labels[key], row.median / 1000, row.p95 / 1000, key in ours) for key, row in rows.items()]
    runs = min(row.runs for row in rows.values())
    note = f"Medians of {runs} interleaved runs; whiskers: 95th percentile. {machine}, load {load:.1f}. Made by: python -m bench"
    (CHECKOUT / "bench" / "startup.svg").write_text(draw("A container from nothing to gone, in milliseconds", bars, note))


def check(rows: Mapping[str, Row]) -> int:
    """Says which promises hold; 1 when one does not or cannot be told."""
    broken = 0
    for key, to, limit in PROMISES:
        value = ratio(rows, key, to)
        holds = value is not None and value <= limit
        broken += not holds
        told = f"{value:.2f}" if value is not None else "not measured"
        print(f"{'holds ' if holds else 'BROKEN'}  {key} / {to}: {told} (at most {limit})")
    return min(broken, 1)


def compare(options: argparse.Namespace) -> int:
    chosen = [one for one in CONTESTANTS if not options.only or one.key in options.only.split(",")]
    labels = {one.key: one.label for one in chosen}
    load = os.getloadavg()[0]
    if load > BUSY:
        print(f"the machine is busy (load {load:.1f}): doubt these figures, the ratios too")
    with tempfile.TemporaryDirectory(prefix="pyrt-bench-") as scratch, ExitStack() as stack:
        steppers, left_out = start(chosen, Workshop(Path(scratch)), stack)
        rows = measure(steppers, options.turns, options.pause)
    print_table(rows, labels)
    for key, reason in left_out.items():
        print(f"left out: {labels[key]}: {reason}")
    if not (options.no_write or options.only or options.pause):
        write(rows, labels, {one.key for one in chosen if one.ours}, load)
    return check(rows) if options.check else 0


def parts(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="pyrt-bench-") as scratch, ExitStack() as stack:
        program = Workshop(Path(scratch)).floor
        steppers = {name: stack.enter_context(Stepper([program, *leave, "--step", "/bin/busybox", "true"])) for name, leave in PARTS}
        rows = measure(steppers, options.turns, options.pause)
    print_table(rows, {name: name for name in rows})
    return 0


def main() -> int:
    words = argparse.ArgumentParser(prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--turns", type=int, default=25)
    words.add_argument("--pause", type=float, default=0)
    words.add_argument("--only", default="", help="keys, comma-separated: " + " ".join(one.key for one in CONTESTANTS))
    words.add_argument("--check", action="store_true")
    words.add_argument("--no-write", action="store_true")
    words.add_argument("--parts", action="store_true")
    options = words.parse_args()
    if os.geteuid() != 0:
        words.exit(2, "python -m bench: needs root: cgroups and namespaces without a user namespace\n")
    return parts(options) if options.parts else compare(options)


if __name__ == "__main__":
    sys.exit(main())

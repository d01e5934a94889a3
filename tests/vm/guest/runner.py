"""Runs the slice inside the guest: every `check_*` function of every `slice_*.py` beside it, in order, one result a line.

    python3 runner.py [--results FILE] [PATTERN...]

A result is a JSON object: name ("slice_limits.check_pids"), outcome ("passed", "failed", "skipped"), seconds, detail. The line
after the last says {"end": true}. A pattern is a part of a name; without any, all run. No test framework: pytest alone would
take this guest most of a minute.
"""

from __future__ import annotations

import argparse
import importlib
import json
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TextIO

from kit import Skip

LIMIT = 120  # seconds for one check


class Overdue(BaseException):
    """A check took longer than LIMIT. Not an Exception, so that no handler in the code under test swallows it."""


def ring(signum: int, frame: FrameType | None) -> None:
    raise Overdue(f"not done after {LIMIT} s")


def found(patterns: list[str]) -> Iterator[tuple[str, Callable[[], None]]]:
    """(name, function) of each check that a pattern names. A module that cannot be imported yields checks that fail."""
    for path in sorted(Path(__file__).parent.glob("slice_*.py")):
        names = [line[4:].split("(")[0] for line in path.read_text().splitlines() if line.startswith("def check_")]
        for name in names:
            full = f"{path.stem}.{name}"
            if not patterns or any(pattern in full for pattern in patterns):
                yield full, lambda module=path.stem, name=name: getattr(importlib.import_module(module), name)()


def run(check: Callable[[], None]) -> tuple[str, str]:
    """(outcome, detail) of one check."""
    signal.alarm(LIMIT)
    try:
        check()
    except Skip as reason:
        return "skipped", str(reason)
    except (Exception, Overdue):
        return "failed", traceback.format_exc()
    finally:
        signal.alarm(0)
    return "passed", ""


def report(out: TextIO, **fields: object) -> None:
    print(json.dumps(fields), file=out, flush=True)


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--results", type=Path, default=Path("/dev/stdout"))
    options.add_argument("patterns", nargs="*")
    chosen = options.parse_args()
    signal.signal(signal.SIGALRM, ring)
    bad = 0
    with open(chosen.results, "w") as out:
        for name, check in found(chosen.patterns):
            begin = time.monotonic()
            outcome, detail = run(check)
            bad += outcome == "failed"
            report(out, name=name, outcome=outcome, seconds=round(time.monotonic() - begin, 2), detail=detail)
            print(f"{outcome:8} {name} {detail}", flush=True)
        report(out, end=True)
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main())

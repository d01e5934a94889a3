"""Prints what each lane of `.ci/test` came to, then a closing line in pytest's words; status 1 if anything was red."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

WORDS = {124: "did not end within its limit", 137: "had to be killed at its limit", 139: "crashed (segmentation fault)"}
NO_TESTS = 5  # pytest's status when it has collected nothing


def read(report: Path) -> Counter[str]:
    """Counts of a junit file: passed, failed, skipped; empty if the lane never got so far."""
    count: Counter[str] = Counter()
    if not report.exists():
        return count
    for suite in ET.parse(report).getroot().iter("testsuite"):
        failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped = int(suite.get("skipped", 0))
        count.update(failed=failed, skipped=skipped, passed=int(suite.get("tests", 0)) - failed - skipped)
    return count


def main(reports: Path) -> int:
    total: Counter[str] = Counter()
    red = []
    print("\n== lanes")
    for line in (reports / "lanes").read_text().splitlines():
        name, code, seconds = line.rsplit(" ", 2)
        status = int(code)
        count = read(reports / f"{name}.xml")
        if name.startswith("lint"):
            count = Counter(passed=status == 0, failed=status != 0)
        elif status not in (0, NO_TESTS) and not count["failed"]:
            count["failed"] += 1  # the lane itself
        if count["failed"]:
            red.append(name)
        total.update(count)
        said = "nothing to run" if status == NO_TESTS else WORDS.get(status, "")
        counts = "".join(f"{count[word]:>6} {word}" for word in ("passed", "failed", "skipped"))
        print(f"{name:<16}{counts}{seconds:>6} s  {said}".rstrip())
    if red:
        print(f"red: {', '.join(red)}")
    print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped", flush=True)
    return 1 if red or not total["passed"] else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

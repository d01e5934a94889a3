"""For all tests: the `root` marker, and, when the session ends, what the tests left on the host and why some were skipped."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.leaks import Leaks

leaks_key = pytest.StashKey[Leaks]()


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.stash[leaks_key] = Leaks.start()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    skip = pytest.mark.skip(reason="needs root")
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(skip)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    leaks = session.config.stash.get(leaks_key, None)
    if leaks is None or session.config.option.collectonly:
        return
    leaks.finish()
    if leaks.found and os.environ.get("PYRT_LEAKS") == "fail" and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    reasons = Counter(_reason(report) for report in terminalreporter.stats.get("skipped", []))
    if reasons:
        terminalreporter.section(f"{sum(reasons.values())} skipped, and why")
        for reason, count in reasons.most_common():
            terminalreporter.line(f"{count:5}  {reason}")
    leaks = config.stash.get(leaks_key, None)
    if leaks is not None and leaks.found:
        terminalreporter.section("left on the host by the tests", red=True)
        for line in leaks.found:
            terminalreporter.line(line)


def _reason(report: pytest.TestReport) -> str:
    place = report.longrepr
    return str(place[2] if isinstance(place, tuple) else place).removeprefix("Skipped: ")


@pytest.fixture
def no_new_leaks() -> Iterator[Leaks]:
    """Fails the one test that leaves something behind; for tests about cleaning up."""
    leaks = Leaks.start()
    yield leaks
    leaks.finish()
    assert not leaks.found, "\n".join(leaks.found)

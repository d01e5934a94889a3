"""The harness around the guest: results half written, a guest that dies, and checks that are found without running them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.vm import boot


def test_results_are_read_while_the_last_line_is_on_its_way() -> None:
    line = json.dumps({"name": "slice_x.check_y", "outcome": "failed", "seconds": 1.5, "detail": "two\nlines"})
    results, up, ended = boot.parse(f'{{"up": true}}\r\n{line}\r\n{{"name": "slice_x.ch')
    assert results == {"slice_x.check_y": boot.Result("slice_x.check_y", "failed", 1.5, "two\nlines")}
    assert up
    assert not ended


def as_qemu(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Puts a Python script in QEMU's place; it finds the results' path in sys.argv[1]."""
    monkeypatch.setattr(boot, "qemu", lambda base, work, console, results: [sys.executable, "-c", script, str(results)])


def test_a_guest_that_dies_early_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    as_qemu(monkeypatch, "import sys; open(sys.argv[1], 'w').write('{\"up\": true}\\n'); sys.exit('no disk')")
    report = boot.boot(None, tmp_path, tmp_path)  # type: ignore[arg-type]
    assert report.problem == "QEMU ended with 1 no disk"
    assert not report.results


def test_a_guest_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(boot, "BOOT_SECONDS", 0.3)
    as_qemu(monkeypatch, "import time; time.sleep(60)")
    assert boot.boot(None, tmp_path, tmp_path).problem == "the guest did not boot in 0.3 s"  # type: ignore[arg-type]


def test_every_check_is_found() -> None:
    found = boot.checks(Path(__file__).parent / "guest")
    assert "slice_1_limits.check_memory_limit_kills" in found
    assert len(found) == len(set(found)) >= 15

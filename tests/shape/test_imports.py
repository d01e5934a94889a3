"""Who may import whom, and what a start costs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shape.tree import TOP

# Each of these costs milliseconds that no container start has to spare.
HEAVY = ("asyncio", "click", "email", "http", "inspect", "logging", "msgspec", "multiprocessing", "unittest", "urllib")
HEAVY_FOR_THE_COMMAND_LINE = ("asyncio", "email", "http", "logging", "multiprocessing", "unittest", "urllib.request")


def imported_by(statement: str) -> set[str]:
    """Modules that `statement` brings in, over what the interpreter has loaded anyway."""
    code = f"import sys, json; before = set(sys.modules); {statement}; print(json.dumps(sorted(set(sys.modules) - before)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_rooms_import_downwards_only() -> None:
    tool = shutil.which("lint-imports", path=str(Path(sys.executable).parent)) or shutil.which("lint-imports")
    if tool is None:
        pytest.skip("import-linter is not installed")
    done = subprocess.run([tool, "--no-cache"], cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_import_pyrt_is_light() -> None:
    assert sorted(imported_by("import pyrt").intersection(HEAVY)) == []


def test_the_command_line_starts_light() -> None:
    assert sorted(imported_by("import pyrt.cli.main").intersection(HEAVY_FOR_THE_COMMAND_LINE)) == []


def test_the_oci_command_starts_light() -> None:
    assert sorted(imported_by("import pyrt.cli.oci").intersection(HEAVY_FOR_THE_COMMAND_LINE)) == []

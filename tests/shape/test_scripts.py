"""The scripts that a newcomer and CI run: they parse, and a linter has nothing to say."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.shape.tree import TOP

SCRIPTS = sorted(p for p in (TOP / ".ci").iterdir() if p.is_file() and p.suffix == "")


def test_the_scripts_are_there() -> None:
    assert {p.name for p in SCRIPTS} >= {"pyrt", "test", "setup", "run", "prove"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_script_is_executable_and_parses(script: Path) -> None:
    assert os.access(script, os.X_OK)
    done = subprocess.run(["sh", "-n", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_shellcheck_is_content(script: Path) -> None:
    tool = shutil.which("shellcheck")
    if tool is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run([tool, "-s", "sh", "-S", "warning", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_setup_refuses_what_it_does_not_know() -> None:
    done = subprocess.run([str(TOP / ".ci" / "setup"), "everything"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "usage: .ci/setup [run|test]\n"

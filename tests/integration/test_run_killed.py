"""Killed at any moment: the next command removes what is left."""

from __future__ import annotations

import random
import subprocess
import sys
import time

import pytest

from tests.integration.running import ENV, TOP, cli
from tests.leaks import Leaks

pytestmark = pytest.mark.root

CODE = """
import pyrt
print("ready", flush=True)
while True:
    pyrt.run("host", ["sleep", "0.005"])
"""


def test_killed_during_the_start(no_new_leaks: Leaks) -> None:
    chance = random.Random(1)
    for _ in range(20):
        process = subprocess.Popen([sys.executable, "-c", CODE], stdout=subprocess.PIPE, env=ENV, cwd=TOP)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.uniform(0, 0.05))
        process.kill()
        process.communicate()
    assert cli("run", "--rm", "host", "true").returncode == 0


def test_command_killed_during_the_start(no_new_leaks: Leaks) -> None:
    chance = random.Random(2)
    for _ in range(8):
        process = subprocess.Popen(
            [sys.executable, "-m", "pyrt", "run", "--rm", "host", "sleep", "60"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENV,
        )  # fmt: skip
        time.sleep(chance.uniform(0.05, 0.5))
        process.kill()
        process.wait()
    assert cli("run", "--rm", "host", "true").returncode == 0

"""Killed at any moment: the next command removes what is left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest

import pyrt
from tests.integration.running import ENV, cli
from tests.leaks import Leaks

pytestmark = pytest.mark.root


def _caller() -> int:
    """A child process that runs one container after the other."""
    pid = os.fork()
    if pid == 0:
        try:
            while True:
                pyrt.run("host", ["sleep", "0.003"])
        finally:
            os._exit(1)
    return pid


def test_the_caller_is_killed_at_random_moments(no_new_leaks: Leaks) -> None:
    pyrt.run("host", ["true"])
    chance = random.Random(1)
    for _ in range(60):
        pid = _caller()
        time.sleep(chance.uniform(0, 0.06))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert cli("run", "--rm", "host", "true").returncode == 0


def test_the_command_is_killed_at_random_moments(no_new_leaks: Leaks) -> None:
    chance = random.Random(2)
    for _ in range(8):
        process = subprocess.Popen(
            [sys.executable, "-m", "pyrt", "run", "--rm", "host", "sleep", "60"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENV,
        )  # fmt: skip
        time.sleep(chance.uniform(0.05, 0.8))
        process.kill()
        process.wait()
    assert cli("run", "--rm", "host", "true").returncode == 0

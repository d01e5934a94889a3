import subprocess
import sys

import pytest


def pyrt(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "pyrt", *args], capture_output=True, text=True, timeout=60)


def test_help() -> None:
    done = pyrt("--help")
    assert done.returncode == 0
    assert all(word in done.stdout for word in ("run", "explain", "version"))
    run = pyrt("run", "--help")
    assert run.returncode == 0 and "--memory" in run.stdout and "IMAGE [COMMAND] [ARG...]" in run.stdout


def test_version() -> None:
    assert pyrt("version").returncode == 0
    assert pyrt("--version").stdout.startswith("pyrt version ")


@pytest.mark.parametrize(
    "line",
    [
        "nope",
        "run",
        "run --nope host",
        "run -xyz host",
        "run -m",
        "run -m x host true",
        "run --rm=maybe host",
        "run UPPER true",
        "run nosuchimage true",
        "run --rootfs /nothing true",
        "run --network bridge host true",
        "run -u nosuchuser host true",
        "run -v relative:/x host true",
        "run --security-opt what host true",
        "run -w relative host true",
        "run --cidfile /nothing/x host true",
        "explain",
        "explain --bundle /nothing",
        "explain --bundle / host",
    ],
)
def test_bad_command_lines_are_one_line_and_125(line: str) -> None:
    done = pyrt(*line.split())
    assert done.returncode == 125, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("pyrt: ") and done.stderr.count("\n") == 1, done.stderr

"""Limits bite, and what is not allowed is denied."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

import pyrt
from tests.integration.running import cli

pytestmark = pytest.mark.root

ALLOCATE = ["python3", "-c", "x = bytearray(100 << 20); print(len(x))"]


def _needs(controller: str) -> None:
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    v1 = any(controller in line.split(":")[1].split(",") for line in lines)
    v2 = Path("/sys/fs/cgroup/cgroup.controllers")
    if not v1 and not (v2.exists() and controller in v2.read_text().split()):
        pytest.skip(f"no cgroup controller {controller}")


def test_memory() -> None:
    _needs("memory")
    done = pyrt.run("host", ALLOCATE, memory="64m", memory_swap="64m", timeout=60)
    assert done.returncode == 137 and done.signal == 9
    assert done.oom_killed
    assert done.usage.memory_peak is not None and done.usage.memory_peak <= 64 << 20
    fine = pyrt.run("host", ALLOCATE, memory="512m", timeout=60)
    assert fine.returncode == 0 and not fine.oom_killed
    assert fine.usage.memory_peak is not None and fine.usage.memory_peak > 100 << 20


def test_pids() -> None:
    _needs("pids")
    script = "for i in $(seq 50); do sleep 3 & done; wait"
    done = pyrt.run("host", ["bash", "-c", script], pids_limit=20, text=True, timeout=60)
    assert "Resource temporarily unavailable" in done.stderr
    assert done.usage.pids_peak is None or done.usage.pids_peak <= 20


def test_cpus() -> None:
    _needs("cpu")
    spin = "import time\nend = time.monotonic() + 2\nwhile time.monotonic() < end: pass\nprint(time.process_time())"
    done = pyrt.run("host", ["python3", "-c", spin], cpus=0.5, text=True, timeout=60)
    used = float(done.stdout) / 2
    assert used <= 0.6
    if os.getloadavg()[0] < (os.cpu_count() or 1):
        assert used >= 0.35


def test_cpuset() -> None:
    _needs("cpuset")
    assert cli("run", "--rm", "--cpuset-cpus", "0", "host", "nproc").stdout == "1\n"


def test_devices_are_denied() -> None:
    script = "mknod /d b 254 0 && dd if=/d of=/dev/null count=1; ls /dev"
    done = cli("run", "--rm", "host", "sh", "-c", script)
    assert "Operation not permitted" in done.stderr
    names = set(done.stdout.split())
    assert {"null", "zero", "full", "random", "urandom", "tty", "pts", "shm", "mqueue", "ptmx", "fd"} <= names
    assert not names & {"vda", "sda", "mem", "kmsg", "fuse"}


def test_devices_that_are_given() -> None:
    if not os.path.exists("/dev/loop-control"):
        pytest.skip("no /dev/loop-control")
    script = "test -c /dev/given && : </dev/given && echo read; : >>/dev/given"
    done = cli("run", "--rm", "--device", "/dev/loop-control:/dev/given:r", "host", "sh", "-c", script)
    assert done.stdout == "read\n" and "not permitted" in done.stderr


def test_capabilities_and_seccomp() -> None:
    assert cli("run", "--rm", "host", "mount", "-t", "tmpfs", "x", "/tmp").returncode != 0
    assert cli("run", "--rm", "host", "unshare", "-r", "true").returncode != 0
    assert cli("run", "--rm", "--cap-add", "SYS_ADMIN", "host", "mount", "-t", "tmpfs", "x", "/tmp").returncode == 0
    assert cli("run", "--rm", "--cap-drop", "ALL", "host", "chown", "1", "/etc/passwd").returncode != 0
    status = cli("run", "--rm", "--security-opt", "no-new-privileges", "host", "cat", "/proc/self/status").stdout
    assert "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status
    assert "Seccomp:\t0" in cli("run", "--rm", "--security-opt", "seccomp=unconfined", "host", "cat", "/proc/self/status").stdout


def test_privileged() -> None:
    done = cli("run", "--rm", "--privileged", "host", "sh", "-c", "mount -t tmpfs x /mnt && ls /dev | wc -l; grep Seccomp: /proc/self/status")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) > 20
    assert "Seccomp:\t0" in done.stdout


def test_time_is_up() -> None:
    begin = time.monotonic()
    done = pyrt.run("host", ["sleep", "100"], timeout=0.5)
    assert done.timed_out and done.returncode == 137
    assert time.monotonic() - begin < 30

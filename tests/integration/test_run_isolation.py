"""A container sees nothing of the host; links in its root never lead pyrt out of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import pyrt
from tests.integration.running import cli, root

__all__ = ["root"]

pytestmark = pytest.mark.root


def test_no_fd_of_ours_goes_in(tmp_path: Path) -> None:
    secret = os.open(tmp_path / "secret", os.O_RDWR | os.O_CREAT)
    os.set_inheritable(secret, True)
    try:
        done = pyrt.run("host", ["ls", "-l", "/proc/self/fd"], text=True)
    finally:
        os.close(secret)
    numbers = [line.split()[-3] for line in done.stdout.splitlines() if "->" in line]
    assert numbers == ["0", "1", "2", "3"]  # 3 is ls's own
    assert "secret" not in done.stdout


def test_no_process_of_ours_is_seen() -> None:
    done = pyrt.run("host", ["sh", "-c", f"echo /proc/[0-9]*; kill -0 {os.getpid()}"], text=True)
    assert len(done.stdout.split()) <= 3
    assert done.returncode != 0


def test_no_mount_of_ours_is_seen(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "pyrt-secret", str(tmp_path)], check=True)
    try:
        (tmp_path / "file").write_text("secret")
        mounts = pyrt.run("host", ["cat", "/proc/self/mountinfo"], text=True).stdout
        listed = pyrt.run("host", ["ls", "-A", "/tmp", "/run"], text=True).stdout
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert "pyrt-secret" not in mounts
    assert listed.split() == ["/run:", "/tmp:"]
    places = [line.split()[4] for line in mounts.splitlines()]
    assert places[0] == "/"
    assert not any(place.startswith(("/run/pyrt", str(tmp_path))) for place in places)


def test_a_file_system_below_the_root_is_layered_too(tmp_path: Path) -> None:
    place = Path("/mnt/pyrt-test-layer")
    place.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "x", str(place)], check=True)
        (place / "file").write_text("host\n")
        done = pyrt.run("host", ["sh", "-c", f"cat {place}/file; echo new >{place}/file; cat {place}/file"], text=True)
        assert done.stdout == "host\nnew\n", done.stderr
        assert (place / "file").read_text() == "host\n"
    finally:
        subprocess.run(["umount", str(place)], check=False)
        place.rmdir()


@pytest.mark.parametrize("where", ["proc", "dev", "sys", "tmp", "etc", "dev/shm", "etc/hosts", "var/run"])
def test_links_at_mount_points_stay_inside(root: Path, tmp_path: Path, where: str) -> None:
    """Each place where something is mounted or made is a link to a host directory: nothing may land there."""
    target = tmp_path / "host"
    target.mkdir()
    (target / "mark").write_text("host")
    place = root / where
    if place.is_dir() and not place.is_symlink():
        for inner in place.iterdir():
            inner.unlink()
        place.rmdir()
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)
    done = cli(
        "run", "--rm", "--tmpfs", "/tmp", "-v", "/etc:/var/run/x:ro", "--device", "/dev/full:/dev/given", "--rootfs", str(root),
        "sh", "-c", "ls /",
    )  # fmt: skip
    assert done.returncode in (0, 125, 126, 127)
    assert done.stderr.count("\n") <= 1
    assert sorted(p.name for p in target.iterdir()) == ["mark"]
    assert (target / "mark").read_text() == "host"
    assert str(target) not in Path("/proc/self/mountinfo").read_text()


def test_masked_paths_stay_masked() -> None:
    done = pyrt.run("host", ["sh", "-c", "wc -c </proc/kcore; wc -c </proc/keys; ls /sys/firmware; echo 1 >/proc/sys/vm/swappiness"], text=True)
    assert done.stdout.split()[:2] == ["0", "0"] or "0" in done.stdout
    assert done.returncode != 0 and "Read-only" in done.stderr


def test_our_own_program_cannot_be_changed() -> None:
    """CVE-2019-5736: what /proc/PID/exe of the runtime leads to is not the file on the disk, and cannot be written."""
    from pyrt.native import executor

    before = Path(executor._PROGRAM.decode()).read_bytes()
    script = "for p in /proc/[0-9]*/exe; do (echo x >>$p) 2>/dev/null; done; true"
    assert pyrt.run("host", ["sh", "-c", script]).returncode == 0
    assert Path(executor._PROGRAM.decode()).read_bytes() == before


def test_the_callers_signals_and_handlers_are_untouched() -> None:
    code = (
        "import signal, pyrt\n"
        "before = [signal.getsignal(n) for n in range(1, 65) if n not in (32, 33)]\n"
        "mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])\n"
        "pyrt.run('host', ['true'])\n"
        "assert before == [signal.getsignal(n) for n in range(1, 65) if n not in (32, 33)]\n"
        "assert mask == signal.pthread_sigmask(signal.SIG_BLOCK, [])\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=Path(__file__).parents[2])

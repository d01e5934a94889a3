"""What the tests of `pyrt run` share: the command as a child process, a root of busybox, the machine's state."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
PYRT = [sys.executable, "-m", "pyrt"]
ENV = {**os.environ, "PYTHONPATH": str(TOP)}


def cli(*args: str, stdin: str | None = None, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """`pyrt ARGS` with captured output."""
    return subprocess.run(
        [*PYRT, *args], input=stdin, stdin=subprocess.DEVNULL if stdin is None else None, capture_output=True, text=True,
        timeout=timeout, env=ENV,
    )  # fmt: skip


def start(*args: str, **options: object) -> subprocess.Popen[str]:
    """`pyrt ARGS` in the background; the caller ends it."""
    options.setdefault("stdin", subprocess.DEVNULL)
    options.setdefault("stdout", subprocess.PIPE)
    options.setdefault("stderr", subprocess.PIPE)
    return subprocess.Popen([*PYRT, *args], text=True, env=ENV, **options)  # type: ignore[call-overload,no-any-return]


def busybox() -> str:
    found = shutil.which("busybox")
    if found is None:
        pytest.skip("busybox (package busybox-static) is not installed")
    if b"statically linked" not in subprocess.run(["file", "-L", found], capture_output=True).stdout:
        interpreter = subprocess.run(["ldd", found], capture_output=True, text=True)
        if interpreter.returncode == 0 and "=>" in interpreter.stdout:
            pytest.skip("busybox is not static")
    return found


def make_root(path: Path) -> Path:
    """A root file system that holds nothing but busybox and its names."""
    program = busybox()
    for folder in ("bin", "etc", "tmp", "root", "proc", "sys", "dev", "var"):
        (path / folder).mkdir(parents=True)
    shutil.copy(program, path / "bin/busybox")
    names = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for name in names:
        if name != "busybox":
            (path / "bin" / name).symlink_to("busybox")
    (path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nweb:x:33:34::/var:/bin/sh\n")
    (path / "etc/group").write_text("root:x:0:\nwww:x:34:\n")
    return path


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    yield make_root(tmp_path / "root")


def open_fds() -> set[str]:
    """What this process has open, but for the folder that is read to find out."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except OSError:
            pass
    return found


def children() -> set[int]:
    """Children of this process."""
    found: set[int] = set()
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/children") as file:
            found.update(map(int, file.read().split()))
    return found


def resident() -> int:
    """Bytes of memory that this process has."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

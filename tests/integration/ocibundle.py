"""Bundles for pyrt-oci's tests, and a way to call it: every container that a test makes is deleted when the test ends."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[2]
APPLETS = "sh ls cat sleep id true ps hostname env echo test touch mkdir stat tr head dd kill pwd readlink tty stty grep nproc mount"


def busybox() -> str | None:
    """A static busybox, or None."""
    path = shutil.which("busybox")
    if path is None:
        return None
    said = subprocess.run(["ldd", path], capture_output=True, text=True, check=False)
    return path if "not a dynamic" in said.stdout + said.stderr else None


class Oci:
    """`pyrt-oci` with a state root and a bundle of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "state"
        self.bundle = folder / "bundle"
        self.rootfs = self.bundle / "rootfs"
        self.ids: list[str] = []
        binary = busybox()
        assert binary is not None
        for name in ("bin", "proc", "sys", "dev", "etc", "tmp", "root"):
            (self.rootfs / name).mkdir(parents=True)
        shutil.copy(binary, self.rootfs / "bin" / "busybox")
        for applet in APPLETS.split():
            (self.rootfs / "bin" / applet).symlink_to("busybox")
        self.command("spec", "--bundle", str(self.bundle))
        self.config: dict[str, Any] = json.loads((self.bundle / "config.json").read_text())
        self.config["process"]["terminal"] = False
        self.set()

    def set(self, change: Callable[[dict[str, Any]], None] | None = None, *args: str) -> None:
        """Changes the configuration (and its arguments, when given) and writes it."""
        if change is not None:
            change(self.config)
        if args:
            self.config["process"]["args"] = list(args)
        (self.bundle / "config.json").write_text(json.dumps(self.config))

    def name(self) -> str:
        """A new id."""
        self.ids.append(f"pyrt-t-{os.getpid()}-{len(self.ids)}-{self.folder.name[-8:]}")
        return self.ids[-1]

    def argv(self, *args: str) -> list[str]:
        """The command line as a list."""
        return [sys.executable, "-m", "pyrt.cli.oci", "--root", str(self.root), *args]

    def command(self, *args: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Runs pyrt-oci to its end."""
        env = {**os.environ, "PYTHONPATH": str(TOP)}
        more.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run(self.argv(*args), capture_output=True, text=True, timeout=60, check=False, env=env, **more)

    def good(self, *args: str, **more: Any) -> str:
        """The output of a command that has to succeed."""
        done = self.command(*args, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def bad(self, *args: str, code: int = 1, **more: Any) -> str:
        """The one line of a command that has to fail."""
        done = self.command(*args, **more)
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr.strip()

    def run(self, script: str, *flags: str) -> subprocess.CompletedProcess[str]:
        """Runs a script of the container's shell in the foreground."""
        self.set(None, "sh", "-c", script)
        return self.command("run", *flags, "--bundle", str(self.bundle), self.name())

    def create(self, *flags: str, **more: Any) -> str:
        """Creates a container whose output goes to nowhere; gives its id."""
        container_id = self.name()
        argv = self.argv("create", "--bundle", str(self.bundle), *flags, container_id)
        out = open(self.folder / "out", "wb")  # noqa: SIM115
        with out:
            env = {**os.environ, "PYTHONPATH": str(TOP)}
            more.setdefault("stdin", subprocess.DEVNULL)
            done = subprocess.run(argv, stdout=out, stderr=subprocess.STDOUT, timeout=60, check=False, env=env, **more)
        assert done.returncode == 0, (self.folder / "out").read_text()
        return container_id

    def output(self) -> str:
        """What the last created container has written."""
        return (self.folder / "out").read_text()

    def state(self, container_id: str) -> dict[str, Any]:
        """The state document."""
        document: dict[str, Any] = json.loads(self.good("state", container_id))
        return document

    def wait(self, container_id: str, status: str, seconds: float = 10.0) -> None:
        """Waits until the container has a status."""
        until = time.monotonic() + seconds
        while (now := self.state(container_id)["status"]) != status:
            assert time.monotonic() < until, f"{container_id} is {now}, not {status}"
            time.sleep(0.02)

    def close(self) -> None:
        """Deletes what the test has made."""
        for container_id in self.ids:
            self.command("delete", "--force", container_id)


def until(true: Callable[[], object], seconds: float = 10.0) -> None:
    """Waits for something to become true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)

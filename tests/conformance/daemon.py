"""A daemon of our own: in a private mount namespace, so that it cannot touch the machine's mounts or its own kind's folders in /run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.conformance.machine import Scratch, read
from tests.conformance.peer import Absent


class Daemon:
    """Starts `argv`, with a fresh tmpfs on each of `private`; its words go to SCRATCH/log. Raises Absent if it ends at once."""

    def __init__(self, argv: Sequence[str], scratch: Scratch, private: Sequence[str]) -> None:
        for tool in ("unshare", "setpriv", "mount"):
            if shutil.which(tool) is None:
                raise Absent(f"{tool} is not installed")
        for folder in map(Path, private):
            if not folder.exists():
                folder.mkdir()
                scratch.made.append(folder)
        self.log = scratch.folder / "log"
        script = "".join(f"mount -t tmpfs -o mode=711 tmpfs {folder} || exit 1; " for folder in private) + 'exec "$@"'
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "setpriv", "--pdeathsig", "TERM", "sh", "-c", script, "sh", *argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                # Not ours: a daemon that finds systemd's notify socket or a proxy in its environment would talk to it.
                env={name: value for name, value in os.environ.items() if name in ("PATH", "LANG")} | {"HOME": str(scratch.folder)},
            )

    def wait_for(self, ready: Path, seconds: float = 25.0) -> None:
        """Until its socket is there."""
        end = time.monotonic() + seconds
        while not ready.exists():
            if self.process.poll() is not None or time.monotonic() > end:
                raise Absent(f"does not start here: {read(self.log).strip().splitlines()[-1:]}")
            time.sleep(0.05)

    def stop(self, seconds: float = 15.0) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def need(*programs: str) -> None:
    """Raises Absent unless all are installed."""
    for program in programs:
        if shutil.which(program) is None:
            raise Absent(f"{program} is not installed")

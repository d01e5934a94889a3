"""What the guest's checks share: running commands, the payload, and a bundle for pyrt-oci."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyrt.cli.oci import main as oci_main

WORK = Path(__file__).resolve().parent.parent
ROOTFS = WORK / "rootfs"
PAYLOAD = str(ROOTFS / "bin" / "payload")
CGROUPS = Path("/sys/fs/cgroup")


class Skip(Exception):
    """This kernel lacks what the check needs; the text names it."""


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    def ok(self) -> str:
        """Standard output of a command that must have succeeded."""
        assert self.code == 0, f"exit status {self.code}: {self.err or self.out}"
        return self.out


def command(*words: str | Path, stdin: str | None = None, timeout: float = 30) -> Done:
    """Runs a command on the guest itself."""
    done = subprocess.run([str(w) for w in words], input=stdin, capture_output=True, text=True, timeout=timeout)
    return Done(done.returncode, done.stdout, done.stderr)


def pyrt_cli(*words: str | Path, timeout: float = 60) -> Done:
    """`pyrt ...` as a user would call it."""
    return command(sys.executable, "-m", "pyrt", *words, timeout=timeout)


def pyrt_oci(*words: str | Path, timeout: float = 60) -> Done:
    """`pyrt-oci ...` as containerd would call it, in a fork of this process: a cold Python takes this guest seconds, a hundred times.

    Its output goes to files, because a container that runs on holds a pipe open.
    """
    out, err = Path("/tmp/oci.out"), Path("/tmp/oci.err")
    arguments = ["--root", "/run/oci", *map(str, words)]
    out.unlink(missing_ok=True)
    err.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        os._exit(_call_oci(arguments, out, err))
    end = time.monotonic() + timeout
    try:
        while not (done := os.waitpid(pid, os.WNOHANG))[0]:
            assert time.monotonic() < end, f"pyrt-oci {' '.join(arguments)}: not done after {timeout} s: {err.read_text()}"
            time.sleep(0.01)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    return Done(os.waitstatus_to_exitcode(done[1]), out.read_text(), err.read_text())


def _call_oci(arguments: list[str], out: Path, err: Path) -> int:
    """The forked child's part: stdio as the caller wants it, then the program's own entry."""
    code: int | str | None = 70
    try:
        for fd, path, flags in ((0, "/dev/null", os.O_RDONLY), (1, out, os.O_WRONLY | os.O_CREAT), (2, err, os.O_WRONLY | os.O_CREAT)):
            opened = os.open(path, flags, 0o600)
            os.dup2(opened, fd)
            os.close(opened)
        sys.argv = ["pyrt-oci", *arguments]
        oci_main()
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else int(code is not None)


def until(condition: Callable[[], bool], seconds: float = 20) -> bool:
    """Waits for a condition to hold; false when it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def bundle(
    name: str,
    args: list[str],
    *,
    process: dict[str, object] | None = None,
    linux: dict[str, object] | None = None,
    capabilities: Sequence[str] = (),
) -> Path:
    """An OCI bundle on the payload's root, in its own cgroup, with these fields on top."""
    folder = Path("/tmp") / name
    folder.mkdir()
    sets = ("bounding", "effective", "permitted")
    config = {
        "ociVersion": "1.0.2",
        "root": {"path": str(ROOTFS)},
        "hostname": name,
        "process": {
            "args": args,
            "cwd": "/",
            "env": ["PATH=/bin"],
            "user": {"uid": 0, "gid": 0},
            "capabilities": {key: list(capabilities) for key in sets},
            **(process or {}),
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
        ],
        "linux": {
            "cgroupsPath": f"/slice/{name}",
            "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "network", "cgroup")],
            **(linux or {}),
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def state_of(name: str) -> str:
    """What `pyrt-oci state` calls it."""
    return str(json.loads(pyrt_oci("state", name).ok())["status"])


def cgroup_dir(name: str) -> Path:
    """Where bundle() asked for the container's cgroup to be."""
    return CGROUPS / "slice" / name


def cgroup_file(name: str, file: str) -> str:
    """A file of that cgroup."""
    return (cgroup_dir(name) / file).read_text().strip()

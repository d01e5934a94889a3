"""What the guest's checks share: running commands, the payload, and a bundle for pyrt-oci."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

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


def pyrt_cli(*words: str | Path, timeout: float = 30) -> Done:
    """`pyrt ...` as a user would call it."""
    return command(sys.executable, "-m", "pyrt", *words, timeout=timeout)


def pyrt_oci(*words: str | Path, timeout: float = 30) -> Done:
    """`pyrt-oci ...` as containerd would call it. Its output goes to files: a container that runs on holds a pipe open."""
    out, err = Path("/tmp/oci.out"), Path("/tmp/oci.err")
    with open(out, "w") as stdout, open(err, "w") as stderr:
        done = subprocess.run(
            [sys.executable, "-c", "import sys; from pyrt.cli.oci import main; sys.exit(main())", "--root", "/run/oci", *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            timeout=timeout,
        )
    return Done(done.returncode, out.read_text(), err.read_text())


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

"""Commands with hard time-outs, a scratch folder that always goes away, and what a container's cgroup looks like from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CALL_SECONDS = 40.0


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended: exit code (negative: the signal that ended it), and what it printed."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return f"exit code {self.code}\n{self.out}{self.err}"

    def ok(self) -> Done:
        assert self.code == 0, self.said
        return self


def call(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | Path = "/",
    text: str | None = None,
    seconds: float = CALL_SECONDS,
) -> Done:
    """Runs `argv` to its end, `text` on its standard input; past `seconds` its whole process group is killed and the test fails."""
    with (
        tempfile.TemporaryFile("w+", errors="replace") as out,
        tempfile.TemporaryFile("w+", errors="replace") as err,
        subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL if text is None else subprocess.PIPE,
            stdout=out,
            stderr=err,
            env=env,
            cwd=cwd,
            start_new_session=True,
            text=True,
        ) as child,
    ):
        # Files and not pipes: what a command leaves running in the background must not keep us waiting for an end of file.
        late = False
        try:
            if child.stdin:
                child.stdin.write(text or "")
                child.stdin.close()
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            late = True
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        out.seek(0)
        err.seek(0)
        done = Done(child.returncode, out.read(), err.read())
    assert not late, f"no end after {seconds:g} s: {' '.join(argv)}\n{done.said}"
    return done


def wait_until(true: Callable[[], bool], what: str, seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not in {seconds:g} s: {what}"
        time.sleep(0.05)


def read(path: str | Path) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def cgroup_mounts() -> dict[str, str]:
    """Where each controller is: `memory` -> `/sys/fs/cgroup/memory`; the v2 tree, if any, under the empty name."""
    found: dict[str, str] = {}
    for line in read("/proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        if kind == "cgroup2":
            found.setdefault("", left.split()[4])
        elif kind == "cgroup":
            for name in options.split(","):
                found.setdefault(name, left.split()[4])
    return found


def unmounted_controllers() -> list[str]:
    """Controllers of v1 hierarchies that exist but are mounted elsewhere: containerd's shim then finds no cgroup at all."""
    named = [line.split(":")[1] for line in read("/proc/self/cgroup").splitlines()]
    mounts = cgroup_mounts()
    return [name for names in named for name in names.split(",") if name and name not in mounts]


def cgroup_of(pid: int, controller: str) -> Path:
    """The cgroup folder of `pid` that holds `controller`: in its v1 tree where there is one, else in the v2 tree."""
    mounts = cgroup_mounts()
    for line in read(f"/proc/{pid}/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(",") or (controller not in mounts and not names):
            return Path(mounts[controller if names else ""] + path)
    raise AssertionError(f"process {pid} is in no {controller} cgroup")


def limit_of(pid: int, what: str) -> str:
    """A limit as the kernel tells it: `memory`, `pids` in their units, `cpu` as `quota period` in microseconds."""
    files = {
        "memory": ("memory.limit_in_bytes", "memory.max"),
        "pids": ("pids.max", "pids.max"),
        "cpu": ("cpu.cfs_quota_us", "cpu.max"),
    }
    folder = cgroup_of(pid, what)
    v1, v2 = (folder / name for name in files[what])
    if what == "cpu" and v1.exists():
        return f"{read(v1).strip()} {read(folder / 'cpu.cfs_period_us').strip()}"
    return read(v1 if v1.exists() else v2).strip()


def cgroups_named(name: str) -> list[Path]:
    """Every cgroup folder with `name` in its own name, or below one such; the deepest come first."""
    return sorted(
        {
            Path(folder)
            for mount in cgroup_mounts().values()
            for top in [*Path(mount).glob(f"*{name}*"), *Path(mount).glob(f"*/*{name}*")]
            for folder, _, _ in os.walk(top)
        },
        key=lambda path: -len(path.parts),
    )


def mounts_below(folder: str) -> list[str]:
    points = [line.split()[4] for line in read("/proc/self/mountinfo").splitlines()]
    return sorted((point for point in points if point.startswith(folder + "/")), reverse=True)


def processes_naming(text: str) -> list[int]:
    """Processes, other than this one, whose command line has `text` in it."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid() and text in read(f"/proc/{name}/cmdline").replace("\0", " "):
            found.append(int(name))
    return found


def kill(pids: Sequence[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


@dataclass
class Scratch:
    """A peer's whole footprint: one folder, one name that its cgroups bear. `remove` ends what still runs and takes both away."""

    folder: Path
    cgroup: str
    made: list[Path] = field(default_factory=list)

    @classmethod
    def make(cls, peer: str) -> Scratch:
        # Short: a unix socket's path has to fit into 108 bytes.
        folder = Path(tempfile.mkdtemp(prefix=f"pyrt-conf-{peer}-", dir="/tmp"))
        return cls(folder, folder.name)

    def remove(self) -> None:
        def still_there() -> Iterator[int]:
            yield from processes_naming(str(self.folder))
            for group in cgroups_named(self.cgroup):
                yield from (int(pid) for pid in read(group / "cgroup.procs").split())

        end = time.monotonic() + 10
        while (left := list(still_there())) and time.monotonic() < end:
            kill(left)
            time.sleep(0.05)
        for point in mounts_below(str(self.folder)):
            call(["umount", "-l", point])
        for group in cgroups_named(self.cgroup):
            try:
                group.rmdir()
            except OSError:
                pass
        # rm, not shutil.rmtree: image layers have folders that Python's walk may not enter, and speed matters little here.
        call(["rm", "-rf", "--one-file-system", str(self.folder)])
        for folder in reversed(self.made):
            try:
                folder.rmdir()
            except OSError:
                pass

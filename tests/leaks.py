"""What a run of tests may leave on the host: a picture taken before, compared with one taken after.

Only what bears pyrt's name, or is a child of this process, counts, so that other work on the machine does not disturb.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

SETTLE_SECONDS = 5.0
OWNED = re.compile(r"(?:/eph|/pyrt-t|/pyrt-test)-(\d+)\b")
# Made once and meant to stay: the mount point of throw-away roots, caches and locks.
KEPT = re.compile(r"/pyrt[^/]*(/(mnt|cache|seccomp|plans?|lock|[^/]*\.lock)(/.*)?)?$")


def run_dirs() -> list[Path]:
    """Where pyrt keeps what lives as long as the machine is up."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return [*Path("/run").glob("pyrt*"), *(Path(runtime).glob("pyrt*") if runtime else ())]


def lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def mounts() -> Iterator[str]:
    for line in lines("/proc/self/mountinfo"):
        fields = line.split()
        if "pyrt" in fields[4] or "/pyrt" in line.partition(" - ")[2]:
            yield f"mount {fields[4]} ({line.partition(' - ')[2]})"


def cgroups() -> Iterator[str]:
    for line in lines("/proc/self/mountinfo"):
        left, _, right = line.partition(" - ")
        if right.startswith("cgroup"):
            yield from _cgroups_below(Path(left.split()[4]))


def _cgroups_below(mount: Path, depth: int = 3) -> Iterator[str]:
    # A few levels of other people's cgroups are enough to find ours in a CI container's own; they may vanish while we look.
    for folder in _folders(mount):
        if "pyrt" in folder.name:
            yield from (f"cgroup {path}" for path, _, _ in os.walk(folder) if path != str(folder) or folder.name != "pyrt")
        elif depth > 1:
            yield from _cgroups_below(folder, depth - 1)


def _folders(top: Path) -> list[Path]:
    try:
        with os.scandir(top) as entries:
            return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def namespaces() -> Iterator[str]:
    for folder in ("/run/netns", "/var/run/netns"):
        if os.path.isdir(folder):
            yield from (f"network namespace {name}" for name in os.listdir(folder))
            return


def links() -> Iterator[str]:
    for name in os.listdir("/sys/class/net"):
        if name.startswith(("veth", "pyrt", "br-pyrt")):
            yield f"network link {name}"


def rules() -> Iterator[str]:
    if os.geteuid() == 0 and (nft := shutil.which("nft", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")):
        done = subprocess.run([nft, "list", "tables"], capture_output=True, text=True, check=False)
        yield from (f"nft {line}" for line in done.stdout.splitlines() if "pyrt" in line)


def files() -> Iterator[str]:
    for top in run_dirs():
        for folder, folders, names in os.walk(top):
            for name in [*folders, *names]:
                path = os.path.join(folder, name)
                if not KEPT.search(path):
                    yield f"file {path}"
    for folder in {"/tmp", os.environ.get("TMPDIR", "/tmp"), "/dev/shm"}:
        if os.path.isdir(folder):
            yield from (f"file {os.path.join(folder, name)}" for name in os.listdir(folder) if name.startswith("pyrt"))


def processes() -> Iterator[str]:
    """Our children, their children, and any process that a child left to init: executors, or members of one of our cgroups."""
    parents: dict[int, int] = {}
    names: dict[int, str] = {}
    for pid in [int(name) for name in os.listdir("/proc") if name.isdigit()]:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        except OSError:
            continue
        names[pid] = stat[stat.index("(") + 1 : stat.rindex(")")]
        parents[pid] = int(stat[stat.rindex(")") + 2 :].split()[1])
    for pid, name in names.items():
        above = pid
        while above in parents and above != os.getpid():
            above = parents[above]
        orphan = parents[pid] == 1 and (name.startswith("pyrt") or any("/pyrt/" in line for line in lines(f"/proc/{pid}/cgroup")))
        if (above == os.getpid() and pid != os.getpid()) or orphan:
            yield f"process {pid} {name}"


SOURCES: tuple[Callable[[], Iterator[str]], ...] = (mounts, cgroups, namespaces, links, rules, files, processes)


def picture() -> set[str]:
    return {line for source in SOURCES for line in source()}


def somebody_elses(line: str) -> bool:
    """Something that bears the pid of its owner, who lives and is not one of ours."""
    match = OWNED.search(line)
    if not match or int(match[1]) == os.getpid():
        return False
    pid = int(match[1])
    while pid > 1:
        if pid == os.getpid():
            return False
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        except OSError:
            return pid != int(match[1])
        pid = int(stat[stat.rindex(")") + 2 :].split()[1])
    return True


@dataclass
class Leaks:
    """Take a picture with `start`; after `finish`, `found` says in words what has come since and is still there."""

    before: set[str]
    found: list[str] = field(default_factory=list)

    @classmethod
    def start(cls) -> Leaks:
        return cls(picture())

    def finish(self, settle: float = SETTLE_SECONDS) -> None:
        """Waits up to `settle` seconds for what is still on its way out."""
        end = time.monotonic() + settle
        while True:
            self.found = sorted(line for line in picture() - self.before if not somebody_elses(line))
            if not self.found or time.monotonic() > end:
                return
            time.sleep(0.1)

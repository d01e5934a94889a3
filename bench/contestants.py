"""What is measured, and how each is started: one `Stepper` a row, which runs one container for each step() and says its microseconds.

Programs are started and timed by `floor --no-all --step`, a static C program, so that no row pays for Python's subprocess module.
The library is timed inside a Python process of its own (worker.py).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

CHECKOUT = Path(__file__).resolve().parents[1]
BUSYBOX = Path("/bin/busybox")
FLOOR_FLAGS = ("-std=gnu11", "-O2", "-static", "-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wstrict-prototypes", "-Wvla", "-Wformat=2")
HUGETLB = "/sys/fs/cgroup/hugetlb"


class Missing(Exception):
    """A contestant cannot run on this machine; the text says why, and its row is left out."""


class Stepper:
    """A child process that runs one container for each line it reads and answers "MICROSECONDS STATUS"."""

    def __init__(self, command: Sequence[str | Path], env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [os.fspath(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            cwd=CHECKOUT,
            # With it, each cold row would compile the package again, which no user's does.
            env={**{key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}, **(env or {})},
        )

    def step(self) -> int:
        """Runs one container; returns its microseconds. Raises Missing if it failed."""
        assert self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write("\n")
            answer = self.process.stdout.readline().split()
        except BrokenPipeError:
            answer = []
        if len(answer) != 2 or answer[1] != "0":
            raise Missing(f"{self.process.args}: {'status ' + answer[-1] if answer else 'ended early'}")
        return int(answer[0])

    def close(self) -> None:
        """Ends the process by closing its input."""
        assert self.process.stdin
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()

    def __enter__(self) -> Stepper:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


@dataclass(frozen=True)
class Contestant:
    """One row. `key` stands in results.json, `label` in the picture; `ours` rows are drawn in pyrt's colour."""

    key: str
    label: str
    start: Callable[[Workshop], Stepper]
    ours: bool = False


class Workshop:
    """The place where a comparison's files are made: the floor program and the bundle for runc, crun and pyrt-oci."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.floor = build_floor()
        self.bundle = scratch / "bundle"

    def program(self, *command: str | Path, env: dict[str, str] | None = None) -> Stepper:
        """A stepper that starts this program and waits for it."""
        return Stepper([self.floor, "--no-all", "--step", tool(os.fspath(command[0])), *command[1:]], env)

    def oci_bundle(self) -> Path:
        """A bundle as `runc spec` makes it: all but the user namespace, a busybox root, /bin/true."""
        if not self.bundle.exists():
            bin_dir = self.bundle / "rootfs" / "bin"
            bin_dir.mkdir(parents=True)
            if not BUSYBOX.exists():
                raise Missing(f"{BUSYBOX} is not installed")
            shutil.copy(BUSYBOX, bin_dir / "busybox")
            (bin_dir / "true").symlink_to("busybox")
            for mount_point in ("proc", "dev", "sys", "tmp"):
                (self.bundle / "rootfs" / mount_point).mkdir()
            spec_maker = shutil.which("runc") or shutil.which("crun")
            if not spec_maker:
                raise Missing("neither runc nor crun is installed")
            subprocess.run([spec_maker, "spec"], cwd=self.bundle, check=True, stdout=subprocess.DEVNULL)
            config = json.loads((self.bundle / "config.json").read_text())
            config["process"].update(terminal=False, args=["/bin/true"])
            (self.bundle / "config.json").write_text(json.dumps(config))
        return self.bundle


def tool(name: str) -> str:
    """The absolute path of a program. Raises Missing."""
    if not (path := shutil.which(name)):
        raise Missing(f"{name} is not installed")
    return path


def build_floor() -> Path:
    """Compiles floor.c, when it is newer than the program; returns the program's path."""
    source = CHECKOUT / "bench" / "floor.c"
    program = CHECKOUT / "build" / "bench" / "floor"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        program.parent.mkdir(parents=True, exist_ok=True)
        new = program.with_suffix(f".{os.getpid()}")
        subprocess.run([os.environ.get("CC", "gcc"), *FLOOR_FLAGS, "-o", new, source], check=True)
        new.rename(program)
    return program


def floor(workshop: Workshop) -> Stepper:
    return Stepper([workshop.floor, "--step", "/bin/true"])


def library(workshop: Workshop) -> Stepper:
    return Stepper([sys.executable, CHECKOUT / "bench" / "worker.py"])


def library_big_caller(workshop: Workshop) -> Stepper:
    return Stepper([sys.executable, CHECKOUT / "bench" / "worker.py", "--resident", str(4 << 30)])


def library_rootfs(workshop: Workshop) -> Stepper:
    return Stepper([sys.executable, CHECKOUT / "bench" / "worker.py", "--rootfs", workshop.oci_bundle() / "rootfs"])


def cli(workshop: Workshop) -> Stepper:
    return workshop.program(sys.executable, "-m", "pyrt", "run", "--rm", "host", "/bin/true", env={"PYRT_WARM": "off"})


def oci(workshop: Workshop) -> Stepper:
    code = "import sys; from pyrt.cli.oci import main; sys.exit(main())"
    return workshop.program(sys.executable, "-c", code, "run", "--bundle", workshop.oci_bundle(), "pyrt-bench-oci")


def runc(workshop: Workshop) -> Stepper:
    return workshop.program("runc", "run", "--bundle", workshop.oci_bundle(), "pyrt-bench-runc")


def crun(workshop: Workshop) -> Stepper:
    """crun 1.8 fails on a hybrid host without a hugetlb hierarchy. It gets one in a mount namespace of its own, which goes with it."""
    inner = [workshop.floor, "--no-all", "--step", tool("crun"), "run", "--bundle", workshop.oci_bundle(), "pyrt-bench-crun"]
    if not os.path.isdir("/sys/fs/cgroup/memory") or os.path.ismount(HUGETLB) or os.geteuid() != 0:
        return Stepper(inner)
    script = f'mkdir -p {HUGETLB} && mount -t cgroup -o hugetlb cgroup {HUGETLB} || exit 1; exec "$@"'
    return Stepper(["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *inner])


def bwrap(workshop: Workshop) -> Stepper:
    rootfs = workshop.oci_bundle() / "rootfs"
    options = ["--unshare-all", "--die-with-parent", "--ro-bind", rootfs, "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    return workshop.program("bwrap", *options, "/bin/true")


CONTESTANTS = (
    Contestant("floor", "the kernel's floor (C, nothing else)", floor),
    Contestant("library", 'pyrt.run("host", ["/bin/true"])', library, ours=True),
    Contestant("library_4g", "the same, 4 GiB resident in the caller", library_big_caller, ours=True),
    Contestant("library_rootfs", "pyrt.run(rootfs=...), busybox root", library_rootfs, ours=True),
    Contestant("bwrap", "bwrap, all namespaces, no cgroup, no overlay", bwrap),
    Contestant("crun", "crun run, bare bundle", crun),
    Contestant("runc", "runc run, bare bundle", runc),
    Contestant("oci", "pyrt-oci run, bare bundle, Python cold", oci, ours=True),
    Contestant("cli", "pyrt run --rm host, Python cold", cli, ours=True),
)


def start(chosen: Sequence[Contestant], workshop: Workshop, stack: ExitStack) -> tuple[dict[str, Stepper], dict[str, str]]:
    """Starts each and lets it run once. Returns the steppers by key, and why the others are left out."""
    steppers: dict[str, Stepper] = {}
    left_out: dict[str, str] = {}
    stack.callback(remove_hugetlb_dir, not os.path.isdir(HUGETLB))
    for contestant in chosen:
        try:
            stepper = stack.enter_context(contestant.start(workshop))
            stepper.step()
            steppers[contestant.key] = stepper
        except (Missing, OSError, subprocess.CalledProcessError) as reason:
            left_out[contestant.key] = str(reason)
    return steppers, left_out


def remove_hugetlb_dir(ours: bool) -> None:
    """Undoes crun()'s mkdir; its mount went with its namespace."""
    if ours and os.path.isdir(HUGETLB):
        os.rmdir(HUGETLB)

"""Builds C programs against csrc/ under AddressSanitizer and UndefinedBehaviorSanitizer, with each compiler that is here."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import build_ext

TOP = Path(build_ext.__file__).resolve().parent
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
FLAGS = ("-std=gnu11", "-O1", "-g", "-D_GNU_SOURCE", "-fno-strict-aliasing", *build_ext.WARNINGS)
ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}
COMPILERS = ("gcc", "clang")


@functools.cache
def why_not(compiler: str, *extra: str) -> str | None:
    """Why `compiler` cannot build with sanitizers here; None when it can."""
    if not shutil.which(compiler):
        return f"{compiler} is not installed"
    probe = TOP / "build" / "sanitized" / f"probe-{compiler}-{os.getpid()}"
    probe.parent.mkdir(parents=True, exist_ok=True)
    code = "int main(void) { return 0; }" if not extra else "int LLVMFuzzerTestOneInput(void *d, long n); int LLVMFuzzerTestOneInput(void *d, long n) { return d && n < 0; }"
    try:
        built = subprocess.run([compiler, *SANITIZE, *extra, "-x", "c", "-", "-o", probe], input=code, text=True, capture_output=True, check=False)
        if built.returncode != 0:
            return f"{compiler} has no sanitizer runtime here"
        if not extra:
            ran = subprocess.run([probe], capture_output=True, text=True, check=False)
            if ran.returncode != 0:
                return f"programs that {compiler} builds with sanitizers do not run here"
        return None
    finally:
        probe.unlink(missing_ok=True)


@dataclass(frozen=True)
class Kit:
    """One compiler, and the archive of all of csrc/ that it has made."""

    compiler: str
    extra: tuple[str, ...] = ()  # more flags for every file ("-fsanitize=fuzzer-no-link")

    @property
    def folder(self) -> Path:
        return TOP / "build" / "sanitized" / "-".join([self.compiler, *(flag.rpartition("=")[2] for flag in self.extra)])

    def compile(self, source: Path, target: Path) -> None:
        self._run([*FLAGS, *SANITIZE, *self.extra, f"-I{build_ext.CSRC}", "-c", str(source), "-o", str(target)])

    def archive(self) -> Path:
        """The archive, brought up to date. Raises AssertionError with the compiler's words."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            sources = [p for p in build_ext.sources(executor=False) if not p.name.endswith("_lib.c")]
            common = max(build_ext.newest([*build_ext.headers(), Path(__file__)]), 0.0)
            targets = [self.folder / (p.relative_to(build_ext.CSRC).as_posix().replace("/", "__") + ".o") for p in sources]
            old = [(s, t) for s, t in zip(sources, targets, strict=True) if build_ext.older(t, max(common, s.stat().st_mtime))]
            archive = self.folder / "libpyrt.a"
            with ThreadPoolExecutor(max_workers=2) as pool:
                list(pool.map(lambda job: self.compile(*job), old))
            if old or not archive.exists():
                archive.unlink(missing_ok=True)
                subprocess.run(["ar", "rcs", archive, *targets], check=True, capture_output=True)
            return archive

    def program(self, sources: Sequence[Path], name: str, *link: str) -> Path:
        """Compiles and links one program. Raises AssertionError with the compiler's words."""
        archive = self.archive()
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        args = [*FLAGS, *SANITIZE, *self.extra, f"-I{build_ext.CSRC}", *map(str, sources), str(archive), *link, "-o", str(target)]
        self._run(args)
        return target

    def _run(self, args: Sequence[str]) -> None:
        done = subprocess.run([self.compiler, *args], capture_output=True, text=True, errors="replace", check=False)
        assert done.returncode == 0, f"{self.compiler} {' '.join(args)}\n{done.stdout}{done.stderr}"


def run(command: Sequence[str | Path], *, seconds: float, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a sanitized program to its end; output is stdout and stderr together. When the time is up its whole session is ended."""
    started = subprocess.Popen(
        [*map(str, command)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, **ENVIRONMENT},
        cwd=cwd,
        start_new_session=True,
    )
    try:
        output, _ = started.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.communicate()
        raise
    return subprocess.CompletedProcess([*map(str, command)], started.returncode, output)

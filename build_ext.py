"""Builds the C side: the cffi extension `pyrt.native._pyrt` and the static executor program `pyrt-exec`.

    python build_ext.py          build in place what is out of date (silent when nothing is)
    python build_ext.py -v       print each command
    python build_ext.py --clean  remove what an in-place build made

pip reaches the same code through the setuptools command `BuildExt` at the end. CC, CFLAGS, CPPFLAGS and LDFLAGS are honoured.

Sources are found by name: every `.c` file of csrc/{base,plan,ops,launch} goes into both, but for `*_lib.c` (extension only)
and `*_main.c` (executor only).
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CSRC = HERE / "csrc"
OBJECTS = HERE / "build" / "obj"
PACKAGE = HERE / "pyrt" / "native"
ROOMS = ("base", "plan", "ops", "launch")
EXTENSION = "_pyrt.abi3.so"
EXECUTOR = "pyrt-exec"
BEGIN, END = "/* cffi:begin */", "/* cffi:end */"

WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wstrict-prototypes", "-Wvla", "-Wformat=2")
COMMON = ("-std=gnu11", "-O2", "-g1", "-fvisibility=hidden", "-fstack-protector-strong", "-fno-strict-aliasing", "-D_GNU_SOURCE")
# Sections that nothing refers to are dropped, and no relocation is left to do at start: both keep exec of the executor cheap.
# It has no libc (csrc/base/start_main.c is its start), hence no stack protector or fortified copies, which need libc's help.
EXECUTOR_CFLAGS = (
    "-ffreestanding",
    "-fno-stack-protector",
    "-U_FORTIFY_SOURCE",
    "-fno-pie",
    "-ffunction-sections",
    "-fdata-sections",
    "-fno-asynchronous-unwind-tables",
)
HARDENED = "-Wl,-z,relro,-z,now,-z,noexecstack"
EXECUTOR_LDFLAGS = ("-static", "-nostdlib", "-no-pie", "-s", "-Wl,--gc-sections", HARDENED, "-Wl,--build-id=none")
EXTENSION_CFLAGS = ("-fPIC", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2")
EXTENSION_LDFLAGS = ("-shared", HARDENED, "-Wl,--as-needed")


class BuildError(Exception):
    """A command failed or a source is not as it should be; the message is for a person."""


@dataclass(frozen=True)
class Tools:
    """The compiler and the flags that come from outside."""

    cc: tuple[str, ...]
    cflags: tuple[str, ...]
    ldflags: tuple[str, ...]
    verbose: bool = False

    @classmethod
    def from_environ(cls, verbose: bool = False) -> Tools:
        env = os.environ
        cc = env.get("CC") or next((c for c in ("cc", "gcc", "clang") if shutil.which(c)), None)
        if not cc:
            raise BuildError("no C compiler: install gcc or clang, or set CC")
        cflags = shlex.split(env.get("CPPFLAGS", "")) + shlex.split(env.get("CFLAGS", ""))
        return cls(tuple(shlex.split(cc)), tuple(cflags), tuple(shlex.split(env.get("LDFLAGS", ""))), verbose)

    def run(self, args: Sequence[str]) -> None:
        command = [*self.cc, *args]
        if self.verbose:
            print(shlex.join(command), flush=True)
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
        if done.returncode != 0:
            raise BuildError(f"{done.stdout}failed: {shlex.join(command)}")
        if done.stdout and self.verbose:
            print(done.stdout, end="", flush=True)


def sources(*, executor: bool) -> list[Path]:
    """C files of the executor or of the extension, in a fixed order."""
    other = "_lib.c" if executor else "_main.c"
    return [p for room in ROOMS for p in sorted((CSRC / room).glob("*.c")) if not p.name.endswith(other)]


def declarations(header: Path) -> str:
    """The part of a header that cffi reads: what stands between the two markers.

    Raises BuildError when the markers are not there, once each and in order.
    """
    text = header.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise BuildError(f"{header}: needs one '{BEGIN}' and, after it, one '{END}'")
    return text[text.index(BEGIN) + len(BEGIN) : text.index(END)]


def headers() -> list[Path]:
    return sorted(CSRC.rglob("*.h"))


def public_headers() -> list[Path]:
    return [p for p in (CSRC / "pyrt.h", CSRC / "native.h") if p.exists()]


def newest(paths: Sequence[Path]) -> float:
    return max((p.stat().st_mtime for p in paths), default=0.0)


def older(target: Path, than: float) -> bool:
    try:
        return target.stat().st_mtime < than
    except FileNotFoundError:
        return True


@dataclass(frozen=True)
class Target:
    """One file to build: its objects live in a folder named by a digest of the command, so that other flags never meet."""

    output: Path
    inputs: tuple[Path, ...]
    cflags: tuple[str, ...]
    ldflags: tuple[str, ...]

    def folder(self, tools: Tools) -> Path:
        key = repr((tools.cc, tools.cflags, tools.ldflags, self.cflags, self.ldflags, WARNINGS, COMMON, sys.implementation.cache_tag))
        return OBJECTS / f"{self.output.name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"

    def build(self, tools: Tools, common: float) -> bool:
        """Compiles what is older than its source or than `common` (a time), and links; True when something was done."""
        folder = self.folder(tools)
        folder.mkdir(parents=True, exist_ok=True)
        jobs = []
        objects = []
        for source in self.inputs:
            name = source.relative_to(CSRC if source.is_relative_to(CSRC) else HERE).as_posix().replace("/", "__")
            target = folder / (name + ".o")
            objects.append(target)
            if older(target, max(source.stat().st_mtime, common)):
                jobs.append((source, target))
        listed = folder / "linked"
        names = "\n".join(map(str, [self.output, *objects]))
        linked = listed.read_text() if listed.exists() else ""
        if not jobs and linked == names and not older(self.output, newest(objects)):
            return False
        with ThreadPoolExecutor(max_workers=2) as pool:
            list(pool.map(lambda job: self._compile(tools, *job), jobs))
        self.output.parent.mkdir(parents=True, exist_ok=True)
        fresh = folder / (self.output.name + ".new")
        tools.run([*map(str, objects), *self.ldflags, *tools.ldflags, "-o", str(fresh)])
        partial = self.output.with_name(self.output.name + ".new")
        shutil.copyfile(fresh, partial)
        partial.chmod(0o755)
        partial.replace(self.output)  # a rename: whoever runs the old one keeps it
        listed.write_text(names)
        return True

    def _compile(self, tools: Tools, source: Path, target: Path) -> None:
        # What cffi writes is not ours to keep free of warnings.
        warnings = WARNINGS if source.is_relative_to(CSRC) else ("-w",)
        fresh = target.with_name(target.name + ".new")
        tools.run([*COMMON, *warnings, *tools.cflags, *self.cflags, f"-I{CSRC}", "-c", str(source), "-o", str(fresh)])
        fresh.replace(target)


def write_glue() -> Path:
    """Writes the cffi glue, if what it is made of has changed, and returns its path."""
    import cffi
    from cffi import recompiler

    glue = OBJECTS / "_pyrt.c"
    made_of = [*public_headers(), Path(__file__)]
    if not older(glue, newest(made_of)):
        return glue
    ffi = cffi.FFI()
    for header in public_headers():
        try:
            ffi.cdef(declarations(header))
        except Exception as error:
            raise BuildError(f"{header}: cffi cannot read the part between the markers: {error}") from error
    include = "".join(f'#include "{h.name}"\n' for h in public_headers())
    glue.parent.mkdir(parents=True, exist_ok=True)
    recompiler.make_c_source(ffi, "pyrt.native._pyrt", include, str(glue))
    os.utime(glue)
    return glue


@contextmanager
def locked() -> Iterator[None]:
    """One build at a time in a checkout."""
    OBJECTS.mkdir(parents=True, exist_ok=True)
    with open(OBJECTS / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build(destination: Path = PACKAGE, *, verbose: bool = False) -> bool:
    """Builds both files into `destination`; True when something was out of date.

    Raises BuildError with the compiler's words.
    """
    tools = Tools.from_environ(verbose)
    with locked():
        common = newest([*headers(), Path(__file__)])
        paths = sysconfig.get_paths()
        includes = tuple(dict.fromkeys((f"-I{paths['include']}", f"-I{paths['platinclude']}")))
        if not Path(paths["include"], "Python.h").exists():
            raise BuildError(f"no Python.h in {paths['include']}: install Python's headers (Debian: python3-dev)")
        targets = [
            Target(
                destination / EXTENSION,
                (write_glue(), *sources(executor=False)),
                ("-DPYRT_LIBRARY=1", "-DPy_LIMITED_API=0x030b0000", *includes, *EXTENSION_CFLAGS),
                EXTENSION_LDFLAGS,
            )
        ]
        executor = sources(executor=True)
        if any(p.name.endswith("_main.c") for p in executor):
            targets.append(Target(destination / EXECUTOR, tuple(executor), ("-DPYRT_EXECUTOR=1", *EXECUTOR_CFLAGS), EXECUTOR_LDFLAGS))
        done = [target.build(tools, common) for target in targets]
        return any(done)


def clean() -> None:
    shutil.rmtree(OBJECTS, ignore_errors=True)
    for name in (EXTENSION, EXECUTOR):
        (PACKAGE / name).unlink(missing_ok=True)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Build pyrt's C side in place.")
    parser.add_argument("-v", "--verbose", action="store_true", help="print each command")
    parser.add_argument("--clean", action="store_true", help="remove what an in-place build made")
    options = parser.parse_args(argv)
    if options.clean:
        clean()
        return 0
    try:
        build(verbose=options.verbose)
    except BuildError as error:
        print(f"build_ext: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

from setuptools.command.build_ext import build_ext as _build_ext  # noqa: E402  # not needed, and maybe not there, for a direct run


class BuildExt(_build_ext):
    """setuptools' command: the same build, into the wheel's folder or, for an editable install, in place."""

    def run(self) -> None:
        build(self.folder())

    def folder(self) -> Path:
        return PACKAGE if self.inplace or self.editable_mode else Path(self.build_lib, "pyrt", "native").resolve()

    def get_outputs(self) -> list[str]:
        return [str(self.folder() / name) for name in (EXTENSION, EXECUTOR)]

    def get_output_mapping(self) -> dict[str, str]:
        return {}

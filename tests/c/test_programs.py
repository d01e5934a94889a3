"""The C unit tests: each `test_*.c` below here is a program of its own, linked with all of csrc/ under ASan and UBSan, by each compiler.

It ends with 0 when all is well and with 77 when the kernel lacks what it needs, whose name is then the last line that it prints.
"""

from __future__ import annotations

import subprocess
import warnings
from pathlib import Path

import pytest

from tests.sanitized import COMPILERS, Kit, run, why_not

HERE = Path(__file__).parent
PROGRAMS = sorted(HERE.rglob("test_*.c"))
SKIPPED = 77


@pytest.mark.timeout(300)
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.relative_to(HERE).with_suffix("").as_posix())
def test_program(program: Path, compiler: str, tmp_path: Path) -> None:
    if reason := why_not(compiler):
        pytest.skip(reason)
    name = program.relative_to(HERE).with_suffix("").as_posix().replace("/", "__")
    built = Kit(compiler).program([program], name)
    try:
        done = run([built], seconds=60, cwd=tmp_path)
    except subprocess.TimeoutExpired:
        # Moving a process between cgroups waits for a lock of the whole machine, which other work may hold for long: one more chance.
        warnings.warn(f"{name} did not end within a minute, and was run again", stacklevel=1)
        done = run([built], seconds=120, cwd=tmp_path)
    if done.returncode == SKIPPED:
        pytest.skip(done.stdout.strip().rpartition("\n")[2] or "the program does not say why")
    assert done.returncode == 0, f"{name} ended with {done.returncode}\n{done.stdout}"

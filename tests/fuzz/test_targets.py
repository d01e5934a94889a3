"""Fuzz targets in C: `fuzz_NAME.c`, with its corpus in corpus/NAME. Here the corpus is replayed under sanitizers, then fuzzed for a moment.

To hunt for longer:  clang's build is left in build/sanitized/clang-fuzzer-no-link/fuzz_NAME; run it on a copy of the corpus.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.sanitized import COMPILERS, Kit, run, why_not

HERE = Path(__file__).parent
TARGETS = sorted(HERE.glob("fuzz_*.c"))
RUNS = 300_000


def corpus(target: Path) -> list[Path]:
    return sorted((HERE / "corpus" / target.stem.removeprefix("fuzz_")).iterdir())


@pytest.mark.timeout(300)
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("target", TARGETS, ids=lambda p: p.stem)
def test_corpus_is_harmless(target: Path, compiler: str) -> None:
    if reason := why_not(compiler):
        pytest.skip(reason)
    inputs = corpus(target)
    assert inputs
    program = Kit(compiler).program([target, HERE / "replay.c"], f"replay_{target.stem}")
    done = run([program, *inputs], seconds=120)
    assert done.returncode == 0, done.stdout[-8000:]
    assert f"{len(inputs)} inputs" in done.stdout


@pytest.mark.timeout(300)
@pytest.mark.parametrize("target", TARGETS, ids=lambda p: p.stem)
def test_a_moment_of_fuzzing_finds_nothing(target: Path, tmp_path: Path) -> None:
    if reason := why_not("clang", "-fsanitize=fuzzer"):
        pytest.skip(reason)
    program = Kit("clang", ("-fsanitize=fuzzer-no-link",)).program([target], target.stem, "-fsanitize=fuzzer")
    seeds = tmp_path / "corpus"
    seeds.mkdir()
    for path in corpus(target):
        shutil.copy(path, seeds)
    done = run([program, f"-runs={RUNS}", "-seed=1", "-max_total_time=60", "-rss_limit_mb=1024", "-timeout=20", seeds], seconds=150, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-8000:]

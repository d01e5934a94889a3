"""What the build makes, and that it does nothing when there is nothing to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import build_ext
from tests.shape.tree import TOP

EXECUTOR = build_ext.PACKAGE / build_ext.EXECUTOR
EXTENSION = build_ext.PACKAGE / build_ext.EXTENSION


def readelf(option: str, path: Path) -> str:
    return subprocess.run(["readelf", "-W", option, str(path)], capture_output=True, text=True, check=True).stdout


def test_a_second_build_is_silent_and_changes_nothing() -> None:
    build_ext.build()
    before = [path.stat() for path in (EXECUTOR, EXTENSION)]
    done = subprocess.run([sys.executable, "build_ext.py"], cwd=TOP, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    after = [path.stat() for path in (EXECUTOR, EXTENSION)]
    assert [(s.st_ino, s.st_mtime_ns) for s in before] == [(s.st_ino, s.st_mtime_ns) for s in after]


def test_the_executor_stands_alone() -> None:
    segments = readelf("-l", EXECUTOR)
    assert "INTERP" not in segments
    assert "DYNAMIC" not in segments
    assert " RWE " not in segments
    assert EXECUTOR.stat().st_size < 256 * 1024


def test_the_extension_serves_every_python_from_3_11_on_and_shows_one_symbol() -> None:
    defined = [
        fields[7]
        for line in readelf("--dyn-syms", EXTENSION).splitlines()
        if len(fields := line.split()) == 8 and fields[4] == "GLOBAL" and fields[6] != "UND"
    ]
    assert defined == ["PyInit__pyrt"]


@pytest.mark.parametrize("text", ["", "/* cffi:begin */", "/* cffi:end */ /* cffi:begin */", "/* cffi:begin */ /* cffi:begin */ /* cffi:end */"])
def test_a_header_without_its_markers_is_refused(text: str, tmp_path: Path) -> None:
    header = tmp_path / "x.h"
    header.write_text(text)
    with pytest.raises(build_ext.BuildError, match="needs one"):
        build_ext.declarations(header)


def test_a_failing_compiler_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CC", "false")
    with pytest.raises(build_ext.BuildError, match="failed: false"):
        build_ext.build(tmp_path)


def test_each_source_has_its_place() -> None:
    executor = {p.name for p in build_ext.sources(executor=True)}
    extension = {p.name for p in build_ext.sources(executor=False)}
    assert all(name.endswith("_main.c") for name in executor - extension)
    assert all(name.endswith("_lib.c") for name in extension - executor)
    assert {p.parent.name for p in build_ext.CSRC.rglob("*.c")} <= set(build_ext.ROOMS)

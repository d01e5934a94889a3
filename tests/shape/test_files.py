"""Where things are, how they are named and what they begin with."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest

from tests.shape.tree import CSRC, PACKAGE, TOP, UNIT, c_files, python_files, shown

LONG = 500

# A room of C may include its own headers and those of the rooms after it.
C_ROOMS = {
    "launcher": ("launcher", "launch", "plan", "ops", "base"),
    "launch": ("launch", "plan", "ops", "base"),
    "plan": ("plan", "ops", "base"),
    "ops": ("ops", "base"),
    "layer": ("layer", "base"),
    "base": ("base",),
}

# What only a running container can show, and where it is shown.
COVERED = {
    "pyrt/runtime/launch.py": "tests/integration/test_executor.py",
}


def has_test(source: Path) -> bool:
    room = source.relative_to(PACKAGE).parent
    names = (f"test_{source.stem}.py", f"test_{source.stem}_*.py")
    # What only a kernel can show is tested on one.
    places = [(UNIT / room).glob, (TOP / "tests" / "integration").rglob, (TOP / "tests" / "conformance").rglob]
    return any(True for place in places for name in names for _ in place(name)) or shown(source) in COVERED


def test_each_module_has_a_test() -> None:
    assert [shown(p) for p in python_files() if not has_test(p)] == []


def test_what_is_covered_elsewhere_is_there() -> None:
    assert [path for pair in COVERED.items() for path in pair if not (TOP / path).exists()] == []


def test_each_unit_test_has_a_module() -> None:
    lost = []
    for test in sorted(UNIT.rglob("test_*.py")):
        room = PACKAGE / test.relative_to(UNIT).parent
        name = test.stem.removeprefix("test_")
        stems = {p.stem for p in room.glob("*.py")} | {p.name for p in room.glob("*/")} if room.is_dir() else set()
        if not any(name == stem or name.startswith(f"{stem}_") for stem in stems) and name not in ("init", room.name):
            lost.append(shown(test))
    assert lost == []


def test_each_room_says_what_it_is_for() -> None:
    silent = [p for p in PACKAGE.rglob("*.py") if p.stat().st_size and not p.read_text().lstrip().startswith(('"""', 'r"""'))]
    assert [shown(p) for p in silent] == []


def test_c_rooms_include_downwards_only() -> None:
    wrong = []
    for path in c_files():
        room = path.relative_to(CSRC).parts[0]
        for included in re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), re.MULTILINE):
            target = (path.parent / included) if (path.parent / included).exists() else CSRC / included
            assert target.exists(), f"{shown(path)} includes {included}, which is not there"
            parts = target.resolve().relative_to(CSRC).parts
            if room in C_ROOMS and len(parts) > 1 and parts[0] not in C_ROOMS[room]:
                wrong.append(f"{shown(path)} includes {included}")
    assert wrong == []


def test_c_files_name_their_licence_first() -> None:
    assert [shown(p) for p in c_files() if not p.read_text().startswith("/* SPDX-License-Identifier: Apache-2.0 */\n")] == []


@pytest.mark.parametrize("word", ["TODO", "FIXME", "XXX", "NotImplementedError"])
def test_nothing_is_left_for_later(word: str) -> None:
    places = [*PACKAGE.rglob("*.py"), *c_files()]
    assert [shown(p) for p in places if re.search(rf"\b{word}\b", p.read_text())] == []


def test_long_files_are_named() -> None:
    """A long file is no error, but somebody should ask whether it is still one subject."""
    for path in [*python_files(), *c_files()]:
        length = len(path.read_text().splitlines())
        if length > LONG:
            warnings.warn(f"{shown(path)} has {length} lines", stacklevel=1)

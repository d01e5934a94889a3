from __future__ import annotations

from pathlib import Path

import pytest

from pyrt.runtime.cgroup import files


def test_numbers(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("42\n")
    (tmp_path / "max").write_text("max\n")
    (tmp_path / "text").write_text("some text\n")
    (tmp_path / "empty").write_text("")
    assert files.number(f"{tmp_path}/a") == 42
    assert files.number(f"{tmp_path}/max") is None and files.number(f"{tmp_path}/max", 7) == 7
    assert files.number(f"{tmp_path}/text") is None and files.number(f"{tmp_path}/empty") is None
    assert files.number(f"{tmp_path}/missing") is None


def test_tables(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("usage 5\nodd\nbad x\nother 7\n")
    assert files.flat(f"{tmp_path}/stat") == {"usage": 5, "other": 7}
    assert files.flat(f"{tmp_path}/missing") == {}


def test_writing(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    files.write(f"{tmp_path}/x", "9")
    assert files.read(f"{tmp_path}/x") == "9"
    with pytest.raises(FileNotFoundError):
        files.write(f"{tmp_path}/new", "9")
    assert files.read(f"{tmp_path}/new") is None

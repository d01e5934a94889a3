import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyrt.base import paths
from pyrt.base.errors import PyrtError


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    paths.forget()
    yield
    paths.forget()


def test_the_run_dir_is_made_for_us_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRT_RUN_DIR", str(tmp_path / "a" / "b"))
    made = paths.run_dir()
    assert made == str(tmp_path / "a" / "b")
    assert stat.S_IMODE(os.stat(made).st_mode) == 0o700
    os.rmdir(made)
    assert os.path.isdir(paths.run_dir())  # removed behind our back: made again


def test_an_open_run_dir_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r").chmod(0o777)
    monkeypatch.setenv("PYRT_RUN_DIR", str(tmp_path / "r"))
    assert stat.S_IMODE(os.stat(paths.run_dir()).st_mode) == 0o700


def test_a_link_in_its_place_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "r").symlink_to(tmp_path)
    monkeypatch.setenv("PYRT_RUN_DIR", str(tmp_path / "r"))
    with pytest.raises(PyrtError, match="not a directory"):
        paths.run_dir()


def test_state_dirs_name_the_run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRT_RUN_DIR", str(tmp_path))
    assert str(tmp_path) in paths.state_dirs()

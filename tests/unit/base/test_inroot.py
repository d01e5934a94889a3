import os
from pathlib import Path

import pytest

from pyrt.base.inroot import open_in_root, read_in_root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("host")
    top = tmp_path / "root"
    (top / "etc").mkdir(parents=True)
    (top / "etc/passwd").write_text("inside")
    return top


def test_plain_files(root: Path) -> None:
    assert read_in_root(str(root), "/etc/passwd") == b"inside"
    assert read_in_root(str(root), "etc/../etc/./passwd") == b"inside"
    assert read_in_root(str(root), "/etc/nothing") is None
    assert read_in_root(str(root), "/etc/passwd/x") is None


@pytest.mark.parametrize("target", ["/secret", "../../secret", "../../../../../../secret", "/../secret"])
def test_links_never_lead_out(root: Path, target: str) -> None:
    (root / "etc/link").symlink_to(target)
    assert read_in_root(str(root), "/etc/link") is None
    (root / "secret").write_text("inside")
    assert read_in_root(str(root), "/etc/link") == b"inside"


def test_directories_that_are_links(root: Path) -> None:
    (root / "usr").mkdir()
    (root / "etc").rename(root / "usr/etc")
    (root / "etc").symlink_to("/usr/etc")
    assert read_in_root(str(root), "/etc/passwd") == b"inside"
    (root / "up").symlink_to("..")
    assert read_in_root(str(root), "/up/up/up/etc/passwd") == b"inside"


def test_loops_end(root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    assert read_in_root(str(root), "/a") is None


def test_only_regular_files_are_read(root: Path) -> None:
    os.mkfifo(root / "etc/fifo")  # opening it would block for ever
    assert read_in_root(str(root), "/etc/fifo") is None
    assert read_in_root(str(root), "/etc") is None


def test_no_fd_is_left(root: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for path in ("/etc/passwd", "/nothing", "/etc/passwd/x"):
        read_in_root(str(root), path)
    os.close(open_in_root(str(root), "/etc/passwd"))
    assert len(os.listdir("/proc/self/fd")) == before

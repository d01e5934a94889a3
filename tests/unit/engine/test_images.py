from pathlib import Path

import pytest

from pyrt.base.errors import InvalidRequest, NotFound
from pyrt.engine.images import resolve_image
from pyrt.model.run import RunRequest


def test_the_host_image() -> None:
    image = resolve_image(RunRequest("host"))
    assert image.root == "/" and image.config.fresh_tmp
    assert resolve_image(RunRequest("host")) == image
    assert all(not layer.path.startswith(("/proc", "/sys", "/dev", "/run/", "/tmp")) for layer in image.layers)


def test_a_directory(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    before = resolve_image(RunRequest("", rootfs=str(tmp_path)))
    assert before.root == str(tmp_path) and not before.config.fresh_tmp
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:\n")
    assert resolve_image(RunRequest("", rootfs=str(tmp_path))) != before  # so a cached plan is not used


@pytest.mark.parametrize("name", ["", " ", "a b", "UPPER"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(InvalidRequest, match="invalid reference format"):
        resolve_image(RunRequest(name))


def test_unknown_images_and_directories(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="Unable to find image 'debian' locally"):
        resolve_image(RunRequest("debian"))
    with pytest.raises(NotFound, match="ENOENT"):
        resolve_image(RunRequest("", rootfs=str(tmp_path / "no")))

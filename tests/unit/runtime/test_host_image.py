import os
from pathlib import Path

import pytest

from pyrt.base.errors import NotFound
from pyrt.runtime import host_image
from pyrt.runtime.host_image import HostMount, MountTable, extra_layers, parse_mountinfo

MOUNTINFO = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
28 27 254:1 / /var rw,relatime shared:1 - xfs /dev/vdb rw
29 28 254:2 / /var/lib/my\\040disk rw - ext4 /dev/vdc rw
30 27 254:3 / /boot ro,relatime - ext4 /dev/vdd rw
31 27 254:4 / /opt rw - iso9660 /dev/sr0 ro
32 27 0:30 / /tmp rw - tmpfs tmpfs rw
33 32 0:31 / /tmp/deep rw - ext4 /dev/vde rw
broken line
"""


def test_mountinfo() -> None:
    mounts = {mount.path: mount for mount in parse_mountinfo(MOUNTINFO)}
    assert mounts["/var/lib/my disk"] == HostMount("/var/lib/my disk", "ext4", False)
    assert mounts["/boot"].readonly and mounts["/opt"].readonly
    assert not mounts["/"].readonly


def test_a_later_mount_hides_what_was_there() -> None:
    more = MOUNTINFO + "40 27 254:9 / /var ro - ext4 /dev/vdf rw\n"
    mounts = {mount.path: mount for mount in parse_mountinfo(more)}
    assert mounts["/var"].readonly
    assert "/var/lib/my disk" not in mounts


def test_layers_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_image.os, "stat", lambda path, **_: os.stat_result((0o40755,) + (0,) * 9))
    layers = {layer.path: layer.kind for layer in extra_layers(parse_mountinfo(MOUNTINFO))}
    assert layers == {"/var": "overlay", "/var/lib/my disk": "overlay", "/boot": "bind", "/opt": "bind"}


def test_layers_of_another_root(tmp_path: Path) -> None:
    (tmp_path / "root/data").mkdir(parents=True)
    (tmp_path / "root/file").write_text("")
    root = str(tmp_path / "root")
    mounts = [HostMount(root + name, "ext4", False) for name in ("", "/data", "/file", "/gone", "/proc")]
    found = [(layer.path, layer.source, layer.kind) for layer in extra_layers(mounts, root, ("/proc",))]
    assert found == [("/data", root + "/data", "overlay"), ("/file", root + "/file", "bind")]


def test_other_engines_storage_is_no_part_of_the_host() -> None:
    assert extra_layers([HostMount("/var/lib/docker/overlay2/x/merged", "overlay", False)]) == ()


def test_nothing_is_read_again_without_a_change() -> None:
    table = MountTable()
    assert table.layers() is table.layers()


def test_a_root_directory_has_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    assert host_image.root_directory(str(tmp_path / "link")) == str(tmp_path.resolve())
    (tmp_path / "file").write_text("")
    for wrong in (tmp_path / "file", tmp_path / "nothing"):
        with pytest.raises(NotFound, match="--rootfs"):
            host_image.root_directory(str(wrong))

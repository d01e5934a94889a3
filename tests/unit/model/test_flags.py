from pathlib import Path

import pytest

from pyrt.base.errors import InvalidRequest
from pyrt.model import flags
from pyrt.model.run import Device, Mount, Tmpfs


def test_volumes() -> None:
    mount = flags.parse_volume("/a/../b:/c/:ro,rslave,noexec")
    assert (mount.source, mount.target, mount.readonly, mount.propagation) == ("/b", "/c", True, "rslave")
    assert mount.options == ("noexec",) and mount.create_source and mount.recursive
    assert flags.parse_volume("./x:/y", cwd="/here").source == "/here/x"
    assert flags.parse_volume("/x:/y:z,rw").readonly is False


@pytest.mark.parametrize(
    "text",
    ["", ":", "/a", "name:/x", "/a:b", "/a:/", "/a:/b:xx", "/a:/b:ro,rw", "/a:/b:ro:rw", "/a:", ":/b", "/a\0:/b", "/a:/b\0"],
)
def test_volumes_that_make_no_sense(text: str) -> None:
    with pytest.raises(InvalidRequest):
        flags.parse_volume(text)


def test_mounts() -> None:
    bind = flags.parse_mount("type=bind,src=/a,dst=/b,readonly,bind-propagation=shared,bind-recursive=readonly")
    assert (bind.type, bind.source, bind.target, bind.readonly) == ("bind", "/a", "/b", True)
    assert bind.propagation == "shared" and bind.readonly_recursive and not bind.create_source
    assert not flags.parse_mount("type=bind,source=/a,target=/b,bind-nonrecursive=true").recursive
    tmpfs = flags.parse_mount("type=tmpfs,destination=/t,tmpfs-size=1m,tmpfs-mode=1770")
    assert (tmpfs.type, tmpfs.size, tmpfs.mode) == ("tmpfs", 1 << 20, 0o1770)
    assert flags.parse_mount('type=bind,"src=/a,b",dst=/c').source == "/a,b"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "type=bind",
        "type=bind,src=/a",
        "type=bind,dst=/b",
        "type=volume,src=a,dst=/b",
        "type=bind,src=/a,dst=/b,what=1",
        "type=bind,src=/a,dst=/b,what",
        "type=bind,src=/a,dst=/b,ro=maybe",
        "type=bind,src=/a,dst=/b,bind-propagation=x",
        "type=bind,src=/a,dst=/b,bind-recursive=readonly",
        "type=tmpfs,dst=/b,tmpfs-mode=9",
        "type=tmpfs,dst=/b,tmpfs-size=x",
        "type=tmpfs,src=/a,dst=/b",
        "type=tmpfs,dst=b",
        'type="bind',
    ],
)
def test_mounts_that_make_no_sense(text: str) -> None:
    with pytest.raises(InvalidRequest):
        flags.parse_mount(text)


def test_tmpfs() -> None:
    assert flags.parse_tmpfs("/t:size=64m,exec") == Tmpfs("/t", ("size=64m", "exec"))
    with pytest.raises(InvalidRequest):
        flags.parse_tmpfs("t")


def test_devices() -> None:
    assert flags.parse_device("/dev/fuse") == Device("/dev/fuse", "/dev/fuse", "rwm")
    assert flags.parse_device("/dev/fuse:r") == Device("/dev/fuse", "/dev/fuse", "r")
    assert flags.parse_device("/dev/fuse:/dev/x") == Device("/dev/fuse", "/dev/x", "rwm")
    assert flags.parse_device("/dev/fuse:/dev/x:rw") == Device("/dev/fuse", "/dev/x", "rw")
    for bad in ("fuse", "/dev/fuse:/dev/x:q", "/dev/fuse:/dev/x:rr", "/dev/fuse:x", "/a:/b:r:w"):
        with pytest.raises(InvalidRequest, match="invalid device specification"):
            flags.parse_device(bad)


def test_environment() -> None:
    environ = {"A": "1"}
    assert flags.env_item("X=", environ) == "X="
    assert flags.env_item("A", environ) == "A=1"
    assert flags.env_item("B", environ) is None
    for bad in ("", "=x", "A=\0"):
        with pytest.raises(InvalidRequest):
            flags.env_item(bad, environ)


def test_env_files(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# comment\n\n  A=1\nB= x # y\nHOME\nGONE\nC='q'\n")
    assert list(flags.read_env_file(str(file), {"HOME": "/h"})) == ["A=1", "B= x # y", "HOME=/h", "C='q'"]
    file.write_text("A B=1\n")
    with pytest.raises(InvalidRequest, match="line 1: variable 'A B' contains whitespaces"):
        flags.read_env_file(str(file), {})
    file.write_bytes(b"\xff")
    with pytest.raises(InvalidRequest, match="not UTF-8"):
        flags.read_env_file(str(file), {})
    with pytest.raises(InvalidRequest, match="ENOENT"):
        flags.read_env_file(str(tmp_path / "no"), {})


def test_security_options(tmp_path: Path) -> None:
    file = tmp_path / "profile.json"
    file.write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    assert flags.security_option(f"seccomp={file}") == 'seccomp={"defaultAction": "SCMP_ACT_ALLOW"}'
    for same in ("seccomp=unconfined", "no-new-privileges", "apparmor=x"):
        assert flags.security_option(same) == same
    with pytest.raises(InvalidRequest, match="opening seccomp profile"):
        flags.security_option("seccomp=/nothing")
    file.write_text("x")
    with pytest.raises(InvalidRequest, match="not a JSON object"):
        flags.security_option(f"seccomp={file}")


def test_pairs_and_ulimits() -> None:
    assert flags.parse_pair("a=b=c", "--label") == ("a", "b=c")
    assert flags.ulimit("nofile=1:2").hard == 2
    with pytest.raises(InvalidRequest, match="--label"):
        flags.parse_pair("=b", "--label")


def test_mount_defaults() -> None:
    assert Mount("/x").propagation == "rprivate"

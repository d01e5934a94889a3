"""The cache of plans: an equal request on an unchanged machine compiles nothing."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyrt import native
from pyrt.base import paths
from pyrt.base.ids import new_id
from pyrt.engine.prepare import prepare
from pyrt.model.flags import parse_volume
from pyrt.model.run import RunRequest, Tmpfs


@pytest.fixture(autouse=True)
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PYRT_RUN_DIR", str(tmp_path / "run"))
    paths.forget()
    yield
    paths.forget()


def test_an_equal_request_is_compiled_once() -> None:
    first = prepare(RunRequest("host", ("true",), memory=64 << 20))
    assert prepare(RunRequest("host", ("true",), memory=64 << 20)) is first
    assert prepare(RunRequest("host", ("true",), memory=65 << 20)) is not first
    assert prepare(RunRequest("host", ("true",), memory=64 << 20, tty=True), tty_size=(1, 2)) is not first


def test_the_id_is_all_that_differs_between_runs() -> None:
    prepared = prepare(RunRequest("host", ("true",)))
    one, two = new_id(), new_id()
    first, second = prepared.encoded(one), prepared.encoded(two)
    native.validate(first)
    assert len(first) == len(second) == len(prepared.template)
    assert prepared.placeholder[:12].encode() not in first
    assert first.replace(one.encode(), two.encode()).replace(one[:12].encode(), two[:12].encode()) == second
    assert b"HOSTNAME=" + one[:12].encode() in first


def test_a_change_of_the_image_is_seen(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    before = prepare(RunRequest("", ("x",), rootfs=str(root)))
    (root / "etc/passwd").write_text("root:x:0:0::/somewhere:\n")
    assert prepare(RunRequest("", ("x",), rootfs=str(root))) is not before


def test_volumes_are_looked_at_each_time(tmp_path: Path) -> None:
    source = tmp_path / "made"
    req = RunRequest("host", ("true",), mounts=(parse_volume(f"{source}:/x"),))
    prepare(req)
    source.rmdir()
    prepare(req)
    assert source.is_dir()


def test_hosts_and_hostname(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc").chmod(0o700)
    plan = prepare(RunRequest("", ("x",), rootfs=str(root), hostname="box")).plan
    files = {op.s[0]: op.s[1] for op in plan.ops if op.code == native.OP_WRITE_FILE}
    assert files["/etc/hostname"] == b"box\n"
    assert b"127.0.1.1\tbox\n" in files["/etc/hosts"]
    assert any(op.code == native.OP_MKDIR and op.s[0] == "/etc" and op.n[0] == 0o700 for op in plan.ops)
    covered = prepare(RunRequest("", ("x",), rootfs=str(root), tmpfs=(Tmpfs("/etc"),))).plan
    assert not any(op.code == native.OP_WRITE_FILE for op in covered.ops)


def test_a_linked_etc_is_left_alone(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "etc").symlink_to("/tmp")
    plan = prepare(RunRequest("", ("x",), rootfs=str(root))).plan
    assert not any(op.code == native.OP_WRITE_FILE for op in plan.ops)


def test_the_hosts_network_brings_the_hosts_names(tmp_path: Path) -> None:
    plan = prepare(RunRequest("host", ("x",), network="host")).plan
    files = {op.s[0]: op.s[1] for op in plan.ops if op.code == native.OP_WRITE_FILE}
    assert files["/etc/hostname"] == os.uname().nodename.encode() + b"\n"
    if os.path.exists("/etc/hosts"):
        assert files["/etc/hosts"] == Path("/etc/hosts").read_bytes()

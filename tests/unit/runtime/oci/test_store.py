"""State on disk: whole or not at all, one owner, and what a killed command leaves is recognised."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from pyrt.base.errors import Conflict, InvalidRequest, NotFound, PyrtError
from pyrt.model import oci
from pyrt.runtime.oci.store import Record, Store, check_id, default_root


def record(container_id: str = "c1", pid: int = 1) -> Record:
    return Record(
        oci_version="1.2.0",
        id=container_id,
        bundle="/b",
        rootfs="/b/rootfs",
        created="2026-01-01T00:00:00.000000000Z",
        config=oci.Spec(oci_version="1.2.0", annotations={"a": "b"}),
        pid=pid,
        pid_start=5,
        boot="x",
        annotations={"a": "b"},
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "root"))


def in_child(work: Callable[[], None]) -> int:
    """Runs `work` in another process and gives its wait status; 0 when it did not raise."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitpid(pid, 0)[1]


@pytest.mark.parametrize("good", ["a", "a.b", "A-1_2+3", "-x", "..."])
def test_good_ids(good: str) -> None:
    assert check_id(good) == good


@pytest.mark.parametrize("bad", ["", ".", "..", "a/b", "a b", "ä", "a\n", "x" * 1025, "/etc"])
def test_bad_ids(bad: str) -> None:
    with pytest.raises(InvalidRequest):
        check_id(bad)


def test_what_is_saved_is_loaded(store: Store) -> None:
    with store.new("c1") as left:
        assert left is None
        store.save(record())
    assert store.load("c1") == record()
    assert store.ids() == ["c1"]
    assert (Path(store.root) / "c1" / "state.json").stat().st_mode & 0o777 == 0o600
    store.remove("c1")
    store.remove("c1")
    with pytest.raises(NotFound, match="container does not exist"):
        store.load("c1")


def test_an_id_is_taken_once(store: Store) -> None:
    with store.new("c1"):
        with pytest.raises(Conflict, match="container with given ID already exists"), store.new("c1"):
            pass
        store.save(record())
    with pytest.raises(Conflict, match="already exists"), store.new("c1"):
        pass


def test_what_is_being_created_is_not_there_yet(store: Store) -> None:
    with store.new("c1"):
        store.save(record(pid=0))
        with pytest.raises(NotFound):
            store.load("c1")


def test_a_killed_creator_leaves_what_the_next_one_takes_over(store: Store) -> None:
    def killed() -> None:
        with store.new("c1"):
            store.save(record(pid=0))
            os.kill(os.getpid(), signal.SIGKILL)

    assert os.WTERMSIG(in_child(killed)) == signal.SIGKILL
    assert store.leftover("c1") == record(pid=0)
    with store.new("c1") as left:
        assert left == record(pid=0)
        assert os.listdir(store.directory("c1")) == []


def test_a_creator_killed_before_its_first_word_leaves_only_a_directory(store: Store) -> None:
    os.makedirs(store.directory("c1"))
    with store.new("c1") as left:
        assert left is None


def test_the_lock_keeps_others_out(store: Store) -> None:
    with store.new("c1"):
        assert in_child(lambda: store._make(store.directory("c1"), "c1")) != 0
        store.save(record())
    with store.lock("c1"):
        assert store.is_being_created("c1")
    assert not store.is_being_created("c1")


def test_locking_what_is_not_there(store: Store) -> None:
    with pytest.raises(NotFound), store.lock("c1"):
        pass


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"id": 1}'])
def test_a_damaged_record_is_one_line(store: Store, damage: bytes) -> None:
    with store.new("c1"):
        pass
    (Path(store.root) / "c1" / "state.json").write_bytes(damage)
    with pytest.raises(PyrtError, match="state file") as caught:
        store.load("c1")
    assert "\n" not in str(caught.value)


def test_symlinks_are_not_containers(store: Store, tmp_path: Path) -> None:
    os.makedirs(store.root)
    (tmp_path / "elsewhere").mkdir()
    os.symlink(tmp_path / "elsewhere", store.directory("c1"))
    assert store.ids() == []
    with pytest.raises(NotFound), store.lock("c1"):
        pass


def test_default_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    monkeypatch.setattr("os.geteuid", lambda: 7)
    assert default_root() == "/run/user/7/pyrt-oci"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert default_root() == "/tmp/pyrt-oci-7"
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert default_root() == "/run/pyrt-oci"

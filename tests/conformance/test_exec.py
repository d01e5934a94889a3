"""Further processes in a running container."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.conformance.machine import read, wait_until
from tests.conformance.peer import Options, Peer


@pytest.fixture(scope="module")
def box(peer: Peer) -> Iterator[str]:
    peer.begin("box", ["sh", "-c", "while :; do sleep 0.2; done"])
    yield "box"
    peer.remove("box")


def test_output_and_exit_code(peer: Peer, box: str) -> None:
    done = peer.exec(box, ["sh", "-c", "echo out; echo err >&2; exit 9"])
    assert (done.code, done.out.strip(), done.err.strip()) == (9, "out", "err"), done.said


def test_is_inside(peer: Peer, box: str) -> None:
    done = peer.exec(
        box, ["sh", "-c", "cat /proc/1/cmdline | tr '\\0' ' '; echo; for n in mnt pid net ipc uts; do readlink /proc/self/ns/$n; done"]
    ).ok()
    first, *inside = done.out.splitlines()
    assert "while" in first
    pid = peer.pid(box)
    assert inside == [os.readlink(f"/proc/{pid}/ns/{name}") for name in ("mnt", "pid", "net", "ipc", "uts")]


def test_is_in_the_same_cgroup(peer: Peer, box: str) -> None:
    done = peer.exec(box, ["sh", "-c", "cat /proc/1/cgroup; echo; cat /proc/self/cgroup"]).ok()
    first, own = done.out.split("\n\n")
    assert own.strip() == first.strip()


def test_has_the_same_bounds(peer: Peer, box: str) -> None:
    script = "grep -E '^(Cap(Bnd|Eff)|NoNewPrivs|Seccomp):' /proc/{}/status"
    done = peer.exec(box, ["sh", "-c", script.format("1") + "; echo; " + script.format("self")]).ok()
    first, own = done.out.split("\n\n")
    assert own.strip() == first.strip()


def test_standard_input(peer: Peer, box: str) -> None:
    assert peer.exec(box, ["wc", "-c"], Options(interactive=True), text="x" * 100_000).ok().out.strip() == "100000"


def test_user_and_groups(peer: Peer, box: str) -> None:
    done = peer.exec(box, ["sh", "-c", "id -u; id -g; grep CapEff /proc/self/status"], Options(user="1000:1000")).ok()
    uid, gid, caps = done.out.splitlines()
    assert (uid, gid) == ("1000", "1000")
    assert int(caps.split()[1], 16) == 0


def test_working_directory(peer: Peer, box: str) -> None:
    assert peer.exec(box, ["pwd"], Options(cwd="/usr/bin")).ok().out.strip() == "/usr/bin"


def test_environment(peer: Peer, box: str) -> None:
    assert peer.exec(box, ["sh", "-c", "echo $WHAT"], Options(env=("WHAT=a b",))).ok().out.strip() == "a b"


@pytest.mark.parametrize(("command", "code"), [("no-such-command", 127), ("/etc/passwd", 126)])
def test_what_cannot_be_executed(peer: Peer, box: str, command: str, code: int) -> None:
    done = peer.exec(box, [command])
    assert command in done.out + done.err
    # ctr ends with 1, and this dockerd with 126, whatever the runtime said.
    assert done.code == {"containerd": 1, "docker": 126}.get(peer.name, code), done.said


def test_killed_by_a_signal(peer: Peer, box: str) -> None:
    assert peer.exec(box, ["sh", "-c", "kill -KILL $$"]).code == 137


def test_leaves_the_container_running(peer: Peer, box: str) -> None:
    before = len(peer.pids(box))
    for _ in range(3):
        peer.exec(box, ["true"]).ok()
    wait_until(lambda: len(peer.pids(box)) <= before, "the end of what was executed")
    assert peer.state(box) == "running"
    assert "while" in read(f"/proc/{peer.pid(box)}/cmdline")


def test_in_a_container_that_has_ended(peer: Peer, name: str) -> None:
    peer.begin(name, ["true"])
    wait_until(lambda: peer.state(name) == "exited", "its end")
    assert peer.exec(name, ["true"]).code != 0

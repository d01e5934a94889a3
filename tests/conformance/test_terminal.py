"""Containers with a terminal, under a real one of our own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from tests.conformance.machine import wait_until
from tests.conformance.peer import Options, Peer

pexpect = pytest.importorskip("pexpect")
TERMINAL = Options(tty=True, interactive=True)


@contextmanager
def typing(argv: Sequence[str], peer: Peer) -> Iterator[pexpect.spawn]:
    child = pexpect.spawn(
        argv[0], list(argv[1:]), env=dict(peer.env), cwd=str(peer.folder), timeout=20, dimensions=(31, 97), encoding="utf-8", echo=False
    )
    try:
        yield child
    finally:
        child.close(force=True)


def finish(child: pexpect.spawn) -> int:
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus is not None
    return int(child.exitstatus)


def test_a_shell(peer: Peer, name: str) -> None:
    with typing(peer.run_argv(name, ["sh"], TERMINAL), peer) as child:
        child.expect_exact("# ")
        child.sendline("tty; test -t 0 && test -t 1 && test -t 2 && echo all-$((3 * 7))")
        child.expect("/dev/(pts/[0-9]+|console)")
        child.expect_exact("all-21")
        # ^C ends the foreground job and not the shell: it is the session's leader and the terminal is its own.
        child.sendline("sh -c 'echo job-$((3 * 8)); exec sleep 300'")
        child.expect_exact("job-24")
        child.sendcontrol("c")
        child.expect_exact("# ")
        child.sendline("echo after-$?; exit 5")
        child.expect_exact("after-130")
        assert finish(child) == 5


def test_size(peer: Peer, name: str) -> None:
    with typing(peer.run_argv(name, ["sh"], TERMINAL), peer) as child:
        child.expect_exact("# ")

        def size() -> str:
            child.sendline("stty size")
            # busybox's words while the peer has not told the size yet
            child.expect(r"(\d+ \d+|stty: standard input)\r+\n")
            return str(child.match[1])

        wait_until(lambda: size() == "31 97", "the size of our terminal")
        child.setwinsize(22, 77)
        wait_until(lambda: size() == "22 77", "the new size of our terminal")
        child.sendline("exit")
        assert finish(child) == 0


def test_exec(peer: Peer, name: str) -> None:
    peer.begin(name, ["sleep", "300"])
    with typing(peer.exec_argv(name, ["sh"], TERMINAL), peer) as child:
        child.expect_exact("# ")
        child.sendline("test -t 0 && echo yes-$((3 * 7)); tty")
        child.expect_exact("yes-21")
        child.expect("/dev/pts/[0-9]+")
        child.sendline("exit 6")
        assert finish(child) == 6
    assert peer.state(name) == "running"


def test_a_user_s_terminal_is_theirs(peer: Peer, name: str) -> None:
    peer.begin(name, ["sleep", "300"])
    options = Options(tty=True, interactive=True, user="1000:1000")
    with typing(peer.exec_argv(name, ["sh", "-c", "stat -L -c owner=%u /proc/self/fd/0"], options), peer) as child:
        child.expect_exact("owner=1000")
        assert finish(child) == 0

"""`-it` under a real terminal."""

from __future__ import annotations

import signal
import sys

import pytest

from tests.integration.running import ENV, cli

pexpect = pytest.importorskip("pexpect")
pytestmark = pytest.mark.root

PROMPT = "READY> "


@pytest.fixture
def shell():  # type: ignore[no-untyped-def]
    args = ["-m", "pyrt", "run", "--rm", "-it", "-e", f"PS1={PROMPT}", "host", "bash", "--norc", "--noprofile"]
    child = pexpect.spawn(sys.executable, args, env=ENV, encoding="utf-8", timeout=30, dimensions=(31, 97), echo=False)
    child.expect_exact(PROMPT)
    yield child
    child.close(force=True)


def say(child, line: str) -> str:  # type: ignore[no-untyped-def]
    child.sendline(line)
    child.expect_exact(PROMPT)
    return str(child.before).replace("\r", "")


def test_a_working_shell(shell) -> None:  # type: ignore[no-untyped-def]
    assert "/dev/pts/0" in say(shell, "tty")
    assert "31 97" in say(shell, "stty size")
    assert "xterm" in say(shell, "echo $TERM")
    assert "no job control" not in say(shell, "true")
    shell.sendline("exit 5")
    shell.expect(pexpect.EOF)
    shell.close()
    assert shell.exitstatus == 5


def test_keys_reach_the_foreground_job(shell) -> None:  # type: ignore[no-untyped-def]
    shell.sendline("sh -c 'echo st\"\"arted; exec sleep 100'")  # the echo of the line does not say "started"
    shell.expect_exact("started")
    shell.sendcontrol("c")
    shell.expect_exact(PROMPT)
    assert "130" in say(shell, "echo $?")
    shell.sendline("sh -c 'echo st\"\"arted; exec sleep 100'")  # the echo of the line does not say "started"
    shell.expect_exact("started")
    shell.sendcontrol("z")
    shell.expect_exact("Stopped")
    shell.expect_exact(PROMPT)
    assert "Stopped" in say(shell, "jobs")
    shell.sendline("cat")
    shell.sendline("abc")
    shell.expect_exact("abc")
    shell.sendcontrol("d")
    shell.expect_exact(PROMPT)
    shell.sendcontrol("d")
    shell.expect_exact("There are stopped jobs.")  # bash asks once
    shell.expect_exact(PROMPT)
    shell.sendcontrol("d")
    shell.expect(pexpect.EOF)


def test_resize(shell) -> None:  # type: ignore[no-untyped-def]
    shell.setwinsize(40, 120)
    shell.kill(signal.SIGWINCH)
    for _ in range(50):
        if "40 120" in say(shell, "stty size"):
            return
    pytest.fail("the new size never arrived")


def test_our_terminal_is_put_right() -> None:
    child = pexpect.spawn("bash", ["--norc", "--noprofile"], env={**ENV, "PS1": "outer> "}, encoding="utf-8", timeout=30)
    try:
        child.expect_exact("outer> ")
        child.sendline("stty -g >/tmp/pyrt-stty-a; " + sys.executable + " -m pyrt run --rm -it host true; stty -g >/tmp/pyrt-stty-b")
        child.expect_exact("outer> ")
        child.sendline("cmp /tmp/pyrt-stty-a /tmp/pyrt-stty-b && echo sa''me; rm /tmp/pyrt-stty-?")
        child.expect_exact("same")
        child.sendline("exit")
        child.expect(pexpect.EOF)
    finally:
        child.close(force=True)


def test_interrupt_from_the_terminal_without_t() -> None:
    child = pexpect.spawn(sys.executable, ["-m", "pyrt", "run", "--rm", "host", "sh", "-c", "echo up >/tmp/word; exec tail -f /tmp/word"], env=ENV, timeout=30)
    try:
        child.expect_exact("up")
        child.sendcontrol("c")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 130
    finally:
        child.close(force=True)


def test_job_control_without_t() -> None:
    child = pexpect.spawn("bash", ["--norc", "--noprofile"], env={**ENV, "PS1": "outer> "}, encoding="utf-8", timeout=30, echo=False)
    try:
        child.expect_exact("outer> ")
        child.sendline(f"{sys.executable} -m pyrt run --rm host sh -c 'echo up; while :; do date +tick%s; sleep 0.1; done'")
        child.expect_exact("tick")
        child.sendcontrol("z")
        child.expect_exact("Stopped")
        child.expect_exact("outer> ")
        child.sendline("sleep 0.5; echo qui''et")
        child.expect_exact("quiet")
        assert "tick" not in child.before
        child.sendline("fg")
        child.expect_exact("tick")
        child.sendcontrol("c")
        child.expect_exact("outer> ")
    finally:
        child.close(force=True)


def test_a_terminal_without_input() -> None:
    assert cli("run", "--rm", "-t", "host", "sh", "-c", "tty; echo hi").stdout == "/dev/pts/0\nhi\n"
    done = cli("run", "--rm", "-it", "host", "true")
    assert done.returncode == 125 and "not a TTY" in done.stderr

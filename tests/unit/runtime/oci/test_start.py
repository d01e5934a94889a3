"""The steps of a start that need no container: files written, words chosen, requests refused."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from pyrt.base.errors import CommandNotExecutable, CommandNotFound, InvalidRequest, PyrtError
from pyrt.model import oci
from pyrt.runtime.oci import start
from pyrt.runtime.oci.start import Request


def test_pid_file(tmp_path: Path) -> None:
    (tmp_path / "pid").write_text("old and longer")
    start.write_pid_file(str(tmp_path / "pid"), 42)
    assert (tmp_path / "pid").read_text() == "42"
    assert os.listdir(tmp_path) == ["pid"]
    with pytest.raises(PyrtError, match="No such file"):
        start.write_pid_file(str(tmp_path / "no" / "pid"), 42)


def test_pidfd_goes_over_the_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        start.send_pidfd(path, os.getpid())
        connection, _ = listener.accept()
        with connection:
            _, (fd,), _, _ = socket.recv_fds(connection, 16, 1)
    assert f"Pid:\t{os.getpid()}\n" in Path(f"/proc/self/fdinfo/{fd}").read_text()
    os.close(fd)
    with pytest.raises(PyrtError, match="pidfd"):
        start.send_pidfd(str(tmp_path / "nobody"), os.getpid())


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        (CommandNotFound, "foo", 'exec: "foo": executable file not found in $PATH'),
        (CommandNotFound, "/foo", 'exec: "/foo": stat /foo: no such file or directory'),
        (CommandNotExecutable, "/etc", 'exec: "/etc": permission denied'),
    ],
)
def test_words_that_docker_and_podman_look_for(kind: type[CommandNotFound] | type[CommandNotExecutable], name: str, words: str) -> None:
    error = kind(3, "find", errno.ENOENT)
    assert words in str(start.not_runnable(error, oci.Process(cwd="/", args=(name,))))


@pytest.mark.parametrize(
    ("detach", "terminal", "socket_path", "fine"),
    [
        (True, True, "/s", True),
        (True, False, "", True),
        (False, True, "", True),
        (True, True, "", False),
        (True, False, "/s", False),
        (False, True, "/s", False),
    ],
)
def test_terminals(detach: bool, terminal: bool, socket_path: str, fine: bool) -> None:
    request = Request(id="c", bundle="/b", detach=detach, console_socket=socket_path)
    if fine:
        start._check_terminal(request, terminal)
    else:
        with pytest.raises(InvalidRequest, match="console socket"):
            start._check_terminal(request, terminal)


def test_only_fds_that_were_left_to_us_are_passed_on() -> None:
    start._check_preserved(0)
    fd = os.open("/dev/null", os.O_RDONLY)  # close-on-exec, as all that Python opens
    try:
        with pytest.raises(InvalidRequest, match="preserved-fd"):
            start._check_preserved(fd - 2)
    finally:
        os.close(fd)


def test_bundles(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no such bundle"):
        start.load_bundle(str(tmp_path / "x"))
    with pytest.raises(InvalidRequest, match="not found"):
        start.load_bundle(str(tmp_path))


def test_no_policy_is_no_program() -> None:
    assert start.seccomp_program(oci.Linux()) == (None, 0)
    assert start.seccomp_program(oci.Linux(seccomp=oci.LinuxSeccomp())) == (None, 0)


def test_created_is_a_time_as_go_reads_it() -> None:
    import datetime

    text = start._now()
    assert text.endswith("Z")
    assert len(text) == 30
    datetime.datetime.fromisoformat(text[:26] + "+00:00")

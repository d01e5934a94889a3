"""`import pyrt` in a service."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import pyrt
from tests.integration.running import children, open_fds, resident, root

__all__ = ["root"]

pytestmark = pytest.mark.root


def test_shaped_like_subprocess_run() -> None:
    done = pyrt.run("host", ["sh", "-c", "cat; echo err >&2; exit 3"], input=b"in")
    assert (done.returncode, done.stdout, done.stderr) == (3, b"in", b"err\n")
    assert done.args == ("sh", "-c", "cat; echo err >&2; exit 3")
    text = pyrt.run("host", ["cat"], input="häh\r\n", text=True)
    assert text.stdout == "häh\n"
    assert pyrt.run("host", ["echo", "x"], stderr=pyrt.STDOUT, text=True).stdout == "x\n"
    assert pyrt.run("host", ["sh", "-c", "echo x >&2"], stderr=pyrt.STDOUT, text=True).stdout == "x\n"


def test_streams_of_the_caller(tmp_path: Path) -> None:
    with open(tmp_path / "out", "w+b") as out, open("/etc/passwd", "rb") as source:
        done = pyrt.run("host", ["cat"], stdin=source, stdout=out, stderr=pyrt.DEVNULL)
        assert done.stdout is None and done.stderr is None
    assert (tmp_path / "out").read_bytes() == Path("/etc/passwd").read_bytes()


def test_errors() -> None:
    with pytest.raises(pyrt.ContainerFailed) as caught:
        pyrt.run("host", ["sh", "-c", "echo no >&2; exit 4"], check=True)
    assert (caught.value.returncode, caught.value.stderr) == (4, b"no\n")
    with pytest.raises(pyrt.CommandNotFound) as missing:
        pyrt.run("host", ["no-such-command"])
    assert missing.value.errno == 2 and missing.value.op > 0 and "no-such-command" in str(missing.value)
    with pytest.raises(pyrt.CommandNotExecutable):
        pyrt.run("host", ["/etc/passwd"])
    with pytest.raises(pyrt.NotFound):
        pyrt.run("no-such-image", ["true"])


def test_large_output_and_input() -> None:
    data = os.urandom(5_000_000)
    assert pyrt.run("host", ["cat"], input=data).stdout == data
    assert pyrt.run("host", ["true"], input=data).returncode == 0  # nobody reads it


def test_usage_and_trace() -> None:
    done = pyrt.run("host", ["true"], trace=True)
    assert done.usage.setup_ns > 0 and done.usage.wall_ns > 0
    assert done.trace is not None and len(done.trace) > 20
    assert any("overlay" in op.words for op in done.trace)
    assert all(op.end_ns >= op.begin_ns for op in done.trace)
    assert pyrt.run("host", ["true"]).trace is None


def test_explain() -> None:
    text = pyrt.explain("host", ["true"], memory="64m")
    assert "overlay" in text and "-m 64MiB" in text


def test_rootfs(root: Path) -> None:
    done = pyrt.run(None, ["busybox", "id", "-u"], rootfs=root, user="web", text=True)
    assert done.stdout == "33\n", done.stderr


def test_changes_of_users_are_seen(root: Path) -> None:
    assert pyrt.run(None, ["id", "-u"], rootfs=root, user="web", text=True).stdout == "33\n"
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nweb:x:55:55::/:/bin/sh\n")
    assert pyrt.run(None, ["id", "-u"], rootfs=root, user="web", text=True).stdout == "55\n"


def test_each_run_is_another_container() -> None:
    names = {pyrt.run("host", ["hostname"], text=True).stdout for _ in range(5)}
    assert len(names) == 5
    done = pyrt.run("host", ["sh", "-c", "hostname; echo $HOSTNAME; cat /etc/hostname; tail -1 /etc/hosts"], text=True)
    assert set(done.stdout.split()) == {done.id[:12], "127.0.1.1"}


def test_many_in_a_row_leave_nothing(no_new_leaks: object) -> None:
    for _ in range(20):
        pyrt.run("host", ["true"])
    fds, memory = open_fds(), resident()
    for _ in range(150):
        assert pyrt.run("host", ["true"]).returncode == 0
    assert open_fds() == fds
    assert resident() - memory < 2 << 20
    assert children() == set()


def test_many_threads_leave_nothing(no_new_leaks: object) -> None:
    def job(number: int) -> bool:
        done = pyrt.run("host", ["sh", "-c", "cat; hostname"], input=b"%d\n" % number)
        return done.stdout == b"%d\n%s\n" % (number, done.id[:12].encode())

    pyrt.run("host", ["true"])
    fds = open_fds()
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(job, range(120)))
    assert open_fds() == fds
    assert children() == set()
    assert threading.active_count() == 1


def test_failures_leave_nothing(no_new_leaks: object) -> None:
    pyrt.run("host", ["true"])
    fds = open_fds()
    for _ in range(10):
        with pytest.raises(pyrt.CommandNotFound):
            pyrt.run("host", ["no-such-command"], input=b"x" * 100_000)
        with pytest.raises(pyrt.PyrtError):
            pyrt.run("host", ["true"], volumes=["/etc/passwd:/etc/group/x"])
        assert pyrt.run("host", ["sleep", "9"], timeout=0.05).timed_out
    assert open_fds() == fds
    assert children() == set()


def test_after_a_fork() -> None:
    pyrt.run("host", ["true"])
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(pyrt.run("host", ["sh", "-c", "exit 5"]).returncode)
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    assert pyrt.run("host", ["true"]).returncode == 0


def _as_user(uid: int, job: Callable[[], str]) -> str:
    """What ``job`` returns in a child process of an unprivileged user (its interpreter may be out of that user's reach, so
    everything is imported before)."""
    import encodings.ascii
    import encodings.utf_8_sig  # noqa: F401
    import pwd  # noqa: F401

    import pyrt.engine.explain
    from pyrt.native import executor, lib

    pyrt.run("host", ["true"])
    lib.pyrt_executor_load(executor._PROGRAM)
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.environ.update(HOME="/tmp", XDG_RUNTIME_DIR="")
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            os.write(theirs, job().encode())
        except BaseException as e:
            os.write(theirs, repr(e).encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with open(ours) as file:
        text = file.read()
    os.waitpid(pid, 0)
    return text


@pytest.fixture
def user() -> Iterator[int]:
    uid = 43210
    yield uid
    shutil.rmtree(f"/tmp/pyrt-{uid}", ignore_errors=True)
    shutil.rmtree("/tmp/.cache/pyrt", ignore_errors=True)


def test_without_privileges(user: int) -> None:
    script = "id -u; readlink /proc/self/ns/user; echo x >/etc/x && cat /etc/x /etc/hostname; echo /proc/[0-9]*; ls /dev/null"
    text = _as_user(user, lambda: pyrt.run("host", ["sh", "-c", script], text=True).stdout)
    lines = text.splitlines()
    assert lines[0] == "0", text
    assert lines[1] != os.readlink("/proc/self/ns/user")
    assert lines[2] == "x" and len(lines[3]) == 12
    assert lines[4:] == ["/proc/1", "/dev/null"]
    assert not os.path.exists("/etc/x")


def test_a_directory_without_privileges(user: int, root: Path) -> None:
    for folder in (root, *root.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    text = _as_user(user, lambda: pyrt.run(None, ["sh", "-c", "id -u; echo x >/new; ls /new"], rootfs=root, text=True).stdout)
    assert text.splitlines() == ["0", "/new"], text
    assert not (root / "new").exists()


def test_what_needs_privileges_says_so(user: int) -> None:
    text = _as_user(user, lambda: pyrt.run("host", ["true"], memory="64m", text=True).stdout)
    assert text.startswith("Unsupported(") and "cgroup" in text
    text = _as_user(user, lambda: pyrt.run("host", ["true"], userns="host", text=True).stdout)
    assert "needs root" in text

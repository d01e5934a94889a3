"""The executor by itself: small plans written by hand, and what happens when one side dies."""

from __future__ import annotations

import errno
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pyrt import native as n
from pyrt.native.executor import Executor, Message, error_from_bytes, spawn
from pyrt.runtime.plan import ops
from pyrt.runtime.plan.encode import encode
from pyrt.runtime.plan.ops import Op, Plan

pytestmark = pytest.mark.root

NEWPID = 0x20000000
NEWNS = 0x00020000
NEWUTS = 0x04000000


def program(*args: str) -> list[Op]:
    return [ops.pdeathsig(9), ops.fds(0, 0), ops.execve(args, ["PATH=/usr/bin:/bin"], file="/bin/sh" if args[0] == "sh" else args[0])]


def start(plan: list[Op], **how: object) -> Executor:
    whole = Plan(tuple(plan))
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        return spawn(encode(whole), ops=len(plan), stdio=(null, null, null), **how)  # type: ignore[arg-type]
    finally:
        os.close(null)


def last(executor: Executor) -> Message:
    message = executor.wait(20)
    assert message is not None, "no message within 20 s"
    executor.finish()
    return message


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def wait_gone(pid: int) -> bool:
    end = time.monotonic() + 10
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.01)
    return not alive(pid)


@pytest.mark.parametrize("code", [0, 1, 42, 125, 126, 127, 255])
def test_exit_status_comes_back(code: int) -> None:
    message = last(start([ops.clone(NEWPID), *program("sh", "-c", f"exit {code}")]))
    assert message.type == n.MSG_EXITED
    assert os.waitstatus_to_exitcode(message.wait_status) == code


def test_output_is_collected_and_input_fed() -> None:
    out_r, out_w = os.pipe2(os.O_CLOEXEC)
    in_r, in_w = os.pipe2(os.O_CLOEXEC)
    plan = Plan((ops.clone(NEWPID), *program("sh", "-c", "tr a-z A-Z; echo end")))
    data = b"abc\n" * 100_000
    executor = spawn(encode(plan), ops=len(plan.ops), stdio=(in_r, out_w, out_w), feed=(in_w, data), collect=(out_r, -1))
    os.close(in_r)
    os.close(out_w)
    assert last(executor).wait_status == 0
    assert executor.output(0) == data.upper() + b"end\n"


def test_a_failing_op_is_named() -> None:
    message = last(start([ops.clone(NEWPID | NEWUTS), ops.hostname("x" * 65), *program("sh", "-c", "true")]))
    assert message.type == n.MSG_FAILED
    assert message.error is not None
    assert (message.error.op, message.error.code, message.error.errno) == (1, n.OP_HOSTNAME, errno.EINVAL)


def test_an_optional_op_may_fail() -> None:
    executor = start([ops.clone(NEWPID | NEWUTS), ops.hostname("x" * 65).optional(), *program("sh", "-c", "exit 3")], flags=n.RUN_TRACE)
    assert os.waitstatus_to_exitcode(last(executor).wait_status) == 3
    trace = executor.trace()
    assert trace is not None
    assert trace[1].errno == errno.EINVAL and trace[1].child
    assert not trace[0].child
    assert all(entry.begin_ns and entry.end_ns >= entry.begin_ns for entry in trace)


def test_a_missing_program_is_enoent() -> None:
    message = last(start([ops.clone(NEWPID), *program("/no/such/program")]))
    assert message.type == n.MSG_FAILED
    assert message.error is not None and message.error.errno == errno.ENOENT and message.error.code == n.OP_EXEC


def test_bytes_that_are_no_plan_are_refused() -> None:
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for data in (b"", b"PYRP", b"\0" * 4096, os.urandom(4096)):
        executor = spawn(data, ops=0, stdio=(null, null, null))
        message = last(executor)
        assert message.type == n.MSG_FAILED
        assert message.error is not None and message.error.op == -1
    os.close(null)


def test_host_and_container_take_turns(tmp_path: Path) -> None:
    """Three switches of side, each seen in order by who comes next."""
    log = tmp_path / "log"
    log.write_text("")

    def note(text: str, side: int) -> Op:
        script = f"cat >/dev/null; echo {text} >>{log}"
        return Op(n.OP_HOOK, side, *_hook(script))

    plan = [note("h1", n.HOST), ops.clone(NEWPID), note("h2", n.HOST), note("c1", n.CONTAINER), note("h3", n.HOST), note("h4", n.HOST), note("c2", n.CONTAINER)]
    assert last(start([*plan, *program("sh", "-c", f"echo run >>{log}")])).wait_status == 0
    assert log.read_text().split() == ["h1", "h2", "c1", "h3", "h4", "c2", "run"]


def _hook(script: str) -> tuple[tuple[str | bytes, ...], tuple[int, ...]]:
    argv = b"sh\0-c\0" + script.encode() + b"\0"
    env = b"PATH=/usr/bin:/bin\0"
    return ("/bin/sh", argv, env, '{"pid":', "}"), (len(argv), len(env), 10, 0, 0)


def test_a_failing_hook_on_the_host_ends_the_child() -> None:
    plan = [ops.clone(NEWPID), Op(n.OP_HOOK, n.HOST, *_hook("cat >/dev/null; exit 3")), *program("sh", "-c", "sleep 60")]
    message = last(start(plan))
    assert message.type == n.MSG_FAILED
    assert message.error is not None and message.error.op == 1 and "3" in message.error.detail


def test_second_clone_is_the_executors_child() -> None:
    out_r, out_w = os.pipe2(os.O_CLOEXEC)
    plan = Plan((ops.clone(0), ops.unshare(NEWPID), ops.clone(0, again=True), *program("sh", "-c", "echo $$; exit 7")))
    executor = spawn(encode(plan), ops=len(plan.ops), stdio=(out_w, out_w, out_w), collect=(out_r, -1))
    os.close(out_w)
    assert os.waitstatus_to_exitcode(last(executor).wait_status) == 7
    assert executor.output(0) == b"1\n"


def test_gate_waits_for_start(tmp_path: Path) -> None:
    gate = tmp_path / "start.sock"
    out_r, out_w = os.pipe2(os.O_CLOEXEC)
    plan = Plan((ops.listen(str(gate), 10), ops.clone(NEWPID), ops.gate(10), ops.fds(0, 0), ops.execve(["sh", "-c", "echo started"], [], file="/bin/sh")))
    executor = spawn(encode(plan), ops=len(plan.ops), stdio=(out_w, out_w, out_w), flags=n.RUN_DETACH)
    os.close(out_w)
    message = executor.wait(20)
    assert message is not None and message.type == n.MSG_CREATED
    executor.send(bytes([n.CMD_ACK]))
    executor.finish()
    assert alive(message.pid)
    with socket.socket(socket.AF_UNIX) as opener:
        opener.connect(str(gate))
        opener.sendall(b"\0")
        assert opener.recv(4096) == b""
    with open(out_r, "rb") as out:
        assert out.read() == b"started\n"
    assert wait_gone(message.pid)


def test_error_after_the_gate_reaches_start(tmp_path: Path) -> None:
    gate = tmp_path / "start.sock"
    executor = start([ops.listen(str(gate), 10), ops.clone(NEWPID), ops.gate(10), ops.fds(0, 0), ops.execve(["x"], [], file="/no/such")], flags=n.RUN_DETACH)
    message = executor.wait(20)
    assert message is not None and message.type == n.MSG_CREATED
    executor.send(bytes([n.CMD_ACK]))
    executor.finish()
    with socket.socket(socket.AF_UNIX) as opener:
        opener.connect(str(gate))
        opener.sendall(b"\0")
        error = error_from_bytes(opener.recv(4096))
    assert error is not None and error.errno == errno.ENOENT and error.code == n.OP_EXEC


def test_a_created_container_without_owner_is_unmade(tmp_path: Path) -> None:
    gate = tmp_path / "start.sock"
    executor = start([ops.listen(str(gate), 10), ops.clone(NEWPID), ops.gate(10), *program("sh", "-c", "true")], flags=n.RUN_DETACH)
    message = executor.wait(20)
    assert message is not None and message.type == n.MSG_CREATED
    executor.finish()  # closes the control socket without an ACK
    assert wait_gone(message.pid)
    assert not gate.exists()


def test_the_callers_death_ends_the_container() -> None:
    """A caller that is killed leaves neither executor nor container."""
    script = """
import os, sys, time
from pyrt import native as n
from pyrt.native.executor import spawn
from pyrt.runtime.plan import ops
from pyrt.runtime.plan.encode import encode
plan = ops.Plan((ops.clone(0x20000000), ops.fds(0, 0), ops.execve(["sleep", "60"], [], file="/bin/sleep")))
null = os.open("/dev/null", os.O_RDWR)
x = spawn(encode(plan), ops=3, stdio=(null, null, null), flags=n.RUN_NOTIFY)
print(x.pid, x.wait(20).pid, flush=True)
time.sleep(60)
"""
    caller = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert caller.stdout is not None
    executor, container = map(int, caller.stdout.readline().split())
    assert alive(executor) and alive(container)
    caller.kill()
    caller.wait()
    caller.stdout.close()
    assert wait_gone(container)
    assert wait_gone(executor)


def test_the_executors_death_ends_the_container() -> None:
    executor = start([ops.clone(NEWPID), *program("sh", "-c", "sleep 60; true")], flags=n.RUN_NOTIFY)
    message = executor.wait(20)
    assert message is not None and message.type == n.MSG_STARTED
    os.kill(executor.pid, signal.SIGKILL)
    with pytest.raises(BrokenPipeError):
        executor.wait(20)
    executor.finish()
    assert wait_gone(message.pid)


@pytest.mark.parametrize(
    ("script", "sent", "expected"),
    [
        ("trap 'exit 9' TERM; echo; while :; do sleep 0.01; done", signal.SIGTERM, 9),
        ("sleep 60; true", signal.SIGTERM, -signal.SIGTERM),
        ("exec sleep 60", signal.SIGINT, -signal.SIGINT),
        ("sleep 60; true", signal.SIGKILL, -signal.SIGKILL),
    ],
)
def test_signals_reach_pid_1(script: str, sent: signal.Signals, expected: int) -> None:
    """A handler runs; where there is none, the container ends as any process would, although the kernel drops the signal for a pid 1."""
    executor = start([ops.clone(NEWPID), *program("sh", "-c", script)], flags=n.RUN_NOTIFY)
    message = executor.wait(20)
    assert message is not None
    time.sleep(0.3)  # the shell sets its trap
    executor.send(bytes([n.CMD_KILL, sent]))
    assert os.waitstatus_to_exitcode(last(executor).wait_status) == expected


def test_the_third_request_ends_a_stubborn_pid_1() -> None:
    executor = start([ops.clone(NEWPID), *program("sh", "-c", "trap '' INT; trap : TERM; while :; do sleep 0.05; done")], flags=n.RUN_NOTIFY)
    assert executor.wait(20) is not None
    time.sleep(0.3)
    for _ in range(3):
        executor.send(bytes([n.CMD_KILL, signal.SIGTERM]))
    assert os.waitstatus_to_exitcode(last(executor).wait_status) == -signal.SIGTERM


def test_no_fd_of_the_caller_gets_in() -> None:
    out_r, out_w = os.pipe2(os.O_CLOEXEC)
    leak = os.open("/etc/passwd", os.O_RDONLY)
    os.set_inheritable(leak, True)
    high = os.dup2(leak, 700, inheritable=True)
    plan = Plan((ops.clone(NEWPID), *program("sh", "-c", "ls /proc/self/fd | tr '\\n' ' '")))
    executor = spawn(encode(plan), ops=len(plan.ops), stdio=(out_w, out_w, out_w), collect=(out_r, -1))
    os.close(out_w)
    last(executor)
    os.close(leak)
    os.close(high)
    assert executor.output(0).split() == [b"0", b"1", b"2", b"3"]  # 3 is ls's own


def test_fds_that_were_asked_for_start_at_3(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name)
    files = [os.open(tmp_path / name, os.O_RDONLY) for name in "ab"]
    out_r, out_w = os.pipe2(os.O_CLOEXEC)
    plan = Plan((ops.clone(NEWPID), ops.fds(2, 0), ops.execve(["sh", "-c", "cat <&3; cat <&4; ls /proc/self/fd | wc -l"], [], file="/bin/sh")), 2)
    executor = spawn(encode(plan), ops=len(plan.ops), stdio=(out_w, out_w, out_w), collect=(out_r, -1), fds=files)
    os.close(out_w)
    last(executor)
    for fd in files:
        os.close(fd)
    assert executor.output(0).replace(b" ", b"") == b"ab6\n"


def test_a_caller_that_reaps_everything_loses_nothing() -> None:
    script = """
import signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
import os
from pyrt.native.executor import spawn
from pyrt.runtime.plan import ops
from pyrt.runtime.plan.encode import encode
plan = ops.Plan((ops.clone(0x20000000), ops.fds(0, 0), ops.execve(["sh", "-c", "exit 5"], [], file="/bin/sh")))
x = spawn(encode(plan), ops=3, stdio=(0, 1, 2))
m = x.wait(20); x.finish()
print(os.waitstatus_to_exitcode(m.wait_status))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "5\n"), done.stderr


def test_the_program_in_proc_exe_cannot_be_written() -> None:
    """What a container could reach of its runtime is a sealed copy in memory."""
    gate_free = start([ops.clone(NEWPID), *program("sh", "-c", "sleep 60")], flags=n.RUN_NOTIFY)
    assert gate_free.wait(20) is not None
    exe = f"/proc/{gate_free.pid}/exe"
    assert "memfd:pyrt-exec" in os.readlink(exe)
    with pytest.raises(OSError) as refused:
        os.close(os.open(exe, os.O_WRONLY))
    assert refused.value.errno in (errno.ETXTBSY, errno.EPERM, errno.EACCES)
    gate_free.send(bytes([n.CMD_KILL, 9]))
    last(gate_free)


def hook(script: str, side: int = n.CONTAINER, timeout: int = 0) -> Op:
    strings, numbers = _hook(script)
    return Op(n.OP_HOOK, side, strings, (*numbers[:2], timeout, 0, 0))


def pid_from(path: Path) -> int:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if path.exists() and path.read_text().strip():
            return int(path.read_text())
        time.sleep(0.01)
    raise AssertionError(f"nothing was written to {path}")


@pytest.mark.parametrize("side", [n.CONTAINER, n.HOST])
def test_a_start_that_hangs_can_be_ended(tmp_path: Path, side: int) -> None:
    """Nothing but the caller's word ends a hook without a time limit; and the hook goes with it, pid namespace or not."""
    note = tmp_path / "pid"
    executor = start([ops.clone(0), hook(f"echo $$ >{note}; exec sleep 60", side), *program("sh", "-c", "true")])
    pid = pid_from(note)
    executor.send(bytes([n.CMD_KILL, signal.SIGKILL]))
    message = last(executor)
    assert message.type == n.MSG_FAILED
    assert message.error is not None and message.error.errno == errno.ECANCELED
    assert wait_gone(pid)


def test_the_callers_death_ends_a_start_that_hangs(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    executor = start([ops.clone(0), hook(f"echo $$ >{note}; exec sleep 60"), *program("sh", "-c", "true")])
    pid = pid_from(note)
    os.close(os.dup2(os.open("/dev/null", os.O_RDONLY), executor.control_fd))  # the socket is closed, as at the caller's death
    assert wait_gone(pid)
    assert wait_gone(executor.pid)
    executor.finish()


def test_a_signal_sent_while_it_starts_is_not_lost(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    wait = f"cat >/dev/null; echo $$ >{note}; while [ -e {note} ]; do sleep 0.02; done"
    executor = start([ops.clone(NEWPID), hook(wait), *program("sleep", "60")[:2], ops.execve(["sleep", "60"], [], file="/bin/sleep")])
    pid_from(note)
    executor.send(bytes([n.CMD_KILL, signal.SIGTERM]))
    time.sleep(0.1)
    note.unlink()
    assert os.waitstatus_to_exitcode(last(executor).wait_status) == -signal.SIGTERM


def test_an_unseen_death_is_told_with_the_op_it_happened_in() -> None:
    plan = [ops.clone(0), ops.umask(0o22), hook("kill -9 $PPID; sleep 60"), *program("sh", "-c", "true")]
    message = last(start(plan))
    assert message.type == n.MSG_FAILED
    assert message.error is not None and (message.error.op, message.error.errno) == (2, errno.ECHILD)


def test_the_first_of_two_clones_leaves_no_zombie() -> None:
    plan = [ops.clone(0), ops.unshare(NEWPID), ops.clone(0, again=True), *program("sh", "-c", "sleep 60; true")]
    executor = start(plan, flags=n.RUN_NOTIFY)
    message = executor.wait(20)
    assert message is not None and message.type == n.MSG_STARTED
    assert Path(f"/proc/{executor.pid}/task/{executor.pid}/children").read_text().split() == [str(message.pid)]
    executor.send(bytes([n.CMD_KILL, 9]))
    last(executor)


def test_a_caller_without_stdio() -> None:
    """Our own files get the numbers of the closed ones; the container must not see them there."""
    script = """
import os, sys
report = os.dup(1)
os.closerange(0, 3)
from pyrt import native as n
from pyrt.native.executor import spawn
from pyrt.runtime.plan import ops
from pyrt.runtime.plan.encode import encode
plan = ops.Plan((ops.clone(0), ops.fds(1, 0), ops.execve(["sh", "-c", "x=$(readlink /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2); echo $x >&3"], ["PATH=/bin:/usr/bin"], file="/bin/sh")), 1)
x = spawn(encode(plan), ops=3, stdio=(0, 1, 2), fds=[report])
x.wait(20)
x.finish()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["/dev/null"] * 3, done.stderr


def test_a_slot_without_fd_is_refused() -> None:
    """Its number would be the next file's that the executor opens for itself: the host's /proc."""
    with pytest.raises(OSError) as refused:
        start([ops.clone(0), ops.fds(1, 0), ops.execve(["true"], [], file="/bin/true")], fds=[-1])
    assert refused.value.errno == errno.EBADF


def test_output_without_end_does_not_stop_the_clock() -> None:
    out_r, out_w = os.pipe2(os.O_CLOEXEC)
    plan = Plan((ops.clone(NEWPID), *program("/usr/bin/yes")))
    executor = spawn(encode(plan), ops=len(plan.ops), stdio=(out_w, out_w, out_w), collect=(out_r, -1))
    os.close(out_w)
    begin = time.monotonic()
    assert executor.wait(0.3) is None
    assert time.monotonic() - begin < 5
    executor.send(bytes([n.CMD_KILL, 9]))
    last(executor)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="system call numbers of x86_64")
def test_a_filter_need_not_allow_what_only_the_executor_calls() -> None:
    """Nothing of the kind is called between the filter and execve, whose answer (no such file) comes back: the process was not killed."""
    kill, allow, load, equal = 0x80000000, 0x7FFF0000, 0x20, 0x15
    forbidden = [13, 14, 436, 3, 157]  # rt_sigaction, rt_sigprocmask, close_range, close, prctl
    program_ = [(load, 0, 0, 0)]
    for index, number in enumerate(forbidden):
        program_.append((equal, len(forbidden) - index, 0, number))
    program_ += [(0x06, 0, 0, allow), (0x06, 0, 0, kill)]
    bpf = b"".join(struct.pack("=HBBI", *instruction) for instruction in program_)
    message = last(start([ops.clone(NEWPID), ops.fds(0, 0), ops.no_new_privs(), ops.seccomp(bpf), ops.execve(["no"], [], file="/no/such/program")]))
    assert message.type == n.MSG_FAILED
    assert message.error is not None and (message.error.code, message.error.errno) == (n.OP_EXEC, errno.ENOENT)

"""Starting the executor and hearing from it: `csrc/launch/spawn_lib.c`, typed.

One `Executor` is one execution of one plan. Calls release the GIL while C waits. Nothing here knows what a container is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyrt.native import check, ffi, lib

_PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pyrt-exec").encode()
_USAGE_KINDS: int = lib.PYRT_USAGE_KINDS


@dataclass(frozen=True, slots=True)
class OpError:
    """What failed: `struct pyrt_error` of `csrc/pyrt.h`. `errno` is positive; `op` is the index in the plan, -1 for none."""

    errno: int
    op: int
    code: int
    side: int
    line: int
    detail: str


@dataclass(frozen=True, slots=True)
class TraceEntry:
    """When an op ran, in CLOCK_MONOTONIC nanoseconds (0: it did not).

    `errno` is that of an optional op that failed. `child`: it ran in the container.
    """

    begin_ns: int
    end_ns: int
    errno: int
    child: bool


@dataclass(frozen=True, slots=True)
class Message:
    """What the executor says: `struct pyrt_msg`. Times are CLOCK_MONOTONIC nanoseconds; `wait_status` is as wait(2) gives it."""

    type: int
    pid: int
    wait_status: int
    start_ns: int
    exec_ns: int
    exit_ns: int
    done_ns: int
    usage: tuple[int, ...]
    error: OpError | None


def _error(raw: Any) -> OpError | None:
    if raw.error == 0:
        return None
    detail = ffi.string(raw.detail).decode(errors="replace")
    return OpError(raw.error, raw.op, raw.code, raw.side, raw.line, detail)


def error_from_bytes(data: bytes) -> OpError | None:
    """A `struct pyrt_error` that came over a socket (`start` reads one from the gate).

    None when it says that nothing failed, or is cut short.
    """
    if len(data) < ffi.sizeof("struct pyrt_error"):
        return None
    raw = ffi.new("struct pyrt_error *")
    ffi.memmove(raw, data, ffi.sizeof("struct pyrt_error"))
    return _error(raw)


_programs: dict[bytes, int] = {}
_MAX_PROGRAMS = 16


def device_program(instructions: bytes) -> int:
    """fd of a loaded device program, the same one each time for the same instructions; -1 when it cannot be loaded here.

    A program that was loaded once serves every start of this process, which saves each of them the kernel's verifier.
    """
    fd = _programs.get(instructions)
    if fd is None:
        fd = lib.pyrt_device_program(instructions, len(instructions))
        if fd < 0 or len(_programs) >= _MAX_PROGRAMS:
            return _forget_one(fd)
        _programs[instructions] = fd
    return fd


def _forget_one(fd: int) -> int:
    if fd >= 0:  # the table is full: this process makes a new policy for every run, and the executor may as well load them
        os.close(fd)
    return -1


def detach_mount(path: str) -> None:
    """Takes a mount away, with all below it; a path that is no mount point is no error. Raises OSError."""
    check(lib.pyrt_detach_mount(os.fsencode(path)), f"umount {path}")


class Executor:
    """A running `pyrt-exec`. Use `spawn`; then `wait` until it returns a last message; then `finish`."""

    __slots__ = ("_io", "_keep", "_msg", "_ops", "_process", "_trace", "pid")

    def __init__(self, process: Any, io: Any, keep: tuple[Any, ...], ops: int, trace: bool) -> None:
        self._process = process
        self._io = io
        self._keep = keep
        self._ops = ops
        self._msg: Any = ffi.new("struct pyrt_msg *")
        self._trace: Any = ffi.new("struct pyrt_trace_entry[]", ops) if trace else ffi.NULL
        self.pid: int = process.pid

    def wait(self, timeout: float | None = None) -> Message | None:
        """The next message, or None when `timeout` seconds have passed. Feeds and collects stdio meanwhile.

        Python's signal handlers run while it waits (KeyboardInterrupt is raised from here). Raises OSError: EPIPE when the
        executor was killed.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = -1 if end is None else max(0, int((end - time.monotonic()) * 1000) + 1) if end > time.monotonic() else 0
            rc: int = lib.pyrt_wait(self._process, self._io, left, self._msg, self._trace, self._ops if self._trace else 0)
            if rc == 1:
                return self._message()
            if rc == 0:
                return None
            if rc != -4:  # EINTR: the interpreter runs the handler between two bytecodes, then we go on
                check(rc, "waiting for the executor")

    def _message(self) -> Message:
        m = self._msg
        usage = tuple(m.usage)
        return Message(m.type, m.pid, m.wait_status, m.start_ns, m.exec_ns, m.exit_ns, m.done_ns, usage, _error(m.error))

    def send(self, data: bytes) -> None:
        """Sends a command (PYRT_CMD_* of `csrc/pyrt.h`). Raises OSError (EPIPE: it has ended)."""
        check(lib.pyrt_send(self._process, data, len(data)), "telling the executor")

    def finish(self) -> None:
        """Reads what is left in the pipes, takes the trace, reaps the executor. To be called once, after the last message or EPIPE."""
        check(lib.pyrt_finish(self._process, self._io, self._trace, self._ops if self._trace else 0), "collecting output")

    @property
    def control_fd(self) -> int:
        """The control socket, for pollers: readable when `wait` has something to say."""
        return int(self._process.control_fd)

    def output(self, which: int) -> bytes:
        """What was collected from stdout (0) or stderr (1) so far."""
        io = self._io
        return bytes(ffi.buffer(io.out[which], io.out_size[which])) if io != ffi.NULL and io.out_size[which] else b""

    def trace(self) -> tuple[TraceEntry, ...] | None:
        """One entry an op, when asked for at the start; call after `finish`."""
        if not self._trace:
            return None
        return tuple(TraceEntry(e.begin_ns, e.end_ns, e.error, e.pid == 1) for e in self._trace)


def _free_io(io: Any) -> None:
    lib.pyrt_io_free(io)


def spawn(
    plan: bytes,
    *,
    ops: int,
    stdio: tuple[int, int, int],
    fds: Sequence[int] = (),
    flags: int = 0,
    feed: tuple[int, bytes] | None = None,
    collect: tuple[int, int] = (-1, -1),
) -> Executor:
    """Starts the executor on an encoded plan of `ops` ops.

    `stdio` are the container's fds 0, 1, 2; `fds` fill the plan's slots from 0 on. `feed` is (write end, data) for stdin,
    `collect` the read ends to gather stdout and stderr from (-1: not): those ends are owned, and closed, by the Executor
    once this returns. The others stay the caller's. Raises OSError.
    """
    check(lib.pyrt_executor_load(_PROGRAM), f"loading {_PROGRAM.decode()}")
    keep: tuple[Any, ...] = ()
    io = ffi.NULL
    if feed is not None or collect != (-1, -1):
        io = ffi.gc(ffi.new("struct pyrt_io *"), _free_io)
        io.in_fd = -1
        io.out_fd[0], io.out_fd[1] = collect
        if feed is not None:
            data = ffi.from_buffer("uint8_t[]", feed[1])
            keep = (data, io)
            setattr(io, "in", data)
            io.in_size = len(feed[1])
            io.in_fd = feed[0]
    process = ffi.new("struct pyrt_process *")
    rc = lib.pyrt_spawn(plan, len(plan), list(fds), len(fds), stdio, flags, process)
    check(rc, "starting the executor")
    return Executor(process, io, keep, ops, bool(flags & lib.PYRT_RUN_TRACE))

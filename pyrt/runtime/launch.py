"""Launching: a plan goes to the executor, its messages come back, and its failures become pyrt's errors."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyrt import native
from pyrt.base.errors import CommandNotExecutable, CommandNotFound, OpFailed
from pyrt.native.executor import Executor, Message, OpError, TraceEntry, spawn

if TYPE_CHECKING:
    from pyrt.runtime.plan.ops import Plan

__all__ = ["Launch", "LaunchLost", "failure", "launch"]


class LaunchLost(OpFailed):
    """The executor was killed from outside before it could report. The container dies with it; the next command removes what is left."""

    def __init__(self) -> None:
        super().__init__(-1, "run the plan", errno.EPIPE, "", "the executor was killed; what it left is removed by the next pyrt command")

    def __reduce__(self) -> tuple[type[LaunchLost], tuple[()]]:
        return LaunchLost, ()


def failure(plan: Plan, error: OpError) -> OpFailed:
    """The exception for an op that failed, in the words of `pyrt explain`, with a hint where there is one."""
    from pyrt.runtime.plan.explain import hint, words

    if not 0 <= error.op < len(plan.ops):
        return OpFailed(-1, "run the plan", error.errno, error.detail, "")
    op = plan.ops[error.op]
    kind = OpFailed
    if op.code in (native.OP_FIND_EXEC, native.OP_EXEC):
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            kind = CommandNotFound
        elif error.errno in (errno.EACCES, errno.ENOEXEC, errno.EISDIR, errno.EPERM):
            kind = CommandNotExecutable
    return kind(error.op, words(op), error.errno, error.detail, hint(op, error.errno))


@dataclass(slots=True)
class Launch:
    """One execution of a plan. `wait` until it returns a message of type MSG_EXITED; then it is over and reaped."""

    plan: Plan
    executor: Executor
    last: Message | None = None

    def wait(self, timeout: float | None = None) -> Message | None:
        """The executor's next message; None when `timeout` seconds have passed.

        Raises OpFailed (or its subclasses) when the container could not start, LaunchLost when the executor was killed.
        """
        try:
            message = self.executor.wait(timeout)
        except OSError as error:
            self.executor.finish()
            if error.errno == errno.EPIPE:
                raise LaunchLost from None
            raise
        if message is None:
            return None
        if message.type == native.MSG_EXITED:
            self.last = message
            self.executor.finish()
        elif message.type == native.MSG_FAILED:
            self.last = message
            self.executor.finish()
            error_ = message.error or OpError(errno.EIO, -1, 0, 0, 0, "")
            raise failure(self.plan, error_)
        return message

    def acknowledge(self) -> Message | None:
        """Takes a created or detached container over from the executor, which then ends. Its trace can be read afterwards.

        Raises OSError (EPIPE) when the executor is gone; the container then is, too.
        """
        self.executor.send(bytes([native.CMD_ACK]))
        self.executor.finish()
        return self.last

    def kill(self, signal: int) -> None:
        """Sends a signal to the container's init; after its end this does nothing. SIGKILL ends it for sure."""
        try:
            self.executor.send(bytes([native.CMD_KILL, signal]))
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.ECONNRESET, errno.EBADF):
                raise

    def abandon(self) -> None:
        """Ends the container at once and waits until all is unmade; never raises for what the container did."""
        try:
            self.kill(9)
            while self.last is None:
                self.wait()
        except (OpFailed, OSError):
            pass

    def trace(self) -> tuple[TraceEntry, ...] | None:
        """When each op ran, if asked for."""
        return self.executor.trace()


def launch(
    plan: Plan,
    encoded: bytes,
    *,
    stdio: tuple[int, int, int],
    fds: Sequence[int] = (),
    flags: int = 0,
    feed: tuple[int, bytes] | None = None,
    collect: tuple[int, int] = (-1, -1),
) -> Launch:
    """Starts a plan. `encoded` is `encode(plan)`, which callers cache; see `pyrt.native.executor.spawn` for the fds.

    Raises OSError when the executor itself cannot be started.
    """
    executor = spawn(encoded, ops=len(plan.ops), stdio=stdio, fds=fds, flags=flags, feed=feed, collect=collect)
    return Launch(plan, executor)


def exit_code(wait_status: int) -> tuple[int, int]:
    """(exit code, signal) of a wait(2) status: 128+n and n when signal n ended it."""
    if os.WIFSIGNALED(wait_status):
        signal = os.WTERMSIG(wait_status)
        return 128 + signal, signal
    return os.waitstatus_to_exitcode(wait_status), 0

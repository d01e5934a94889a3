"""Running a container in the foreground: resolve, compile, launch, wait."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from pyrt import native
from pyrt.base.errors import InvalidRequest, OpFailed, PyrtError, errno_words
from pyrt.base.ids import new_id
from pyrt.engine.prepare import Prepared, prepare
from pyrt.engine.stdio import Streams
from pyrt.model.run import Completed, RunRequest, TraceOp, Usage
from pyrt.native.executor import device_program
from pyrt.runtime.cgroup.janitor import sweep
from pyrt.runtime.host import host_facts
from pyrt.runtime.launch import Launch, exit_code, launch

if TYPE_CHECKING:
    from pyrt.native.executor import Message

__all__ = ["run", "tidy"]

SWEEP_EVERY = 60.0  # seconds

_swept = -SWEEP_EVERY
_sweep_lock = threading.Lock()


def run(
    req: RunRequest,
    streams: Streams,
    *,
    timeout: float | None = None,
    trace: bool = False,
    flags: int = 0,
    console: int = -1,
    tty_size: tuple[int, int] = (0, 0),
    attend: Callable[[Launch], Message] | None = None,
) -> Completed:
    """Runs ``req`` to its end and says how it went; the container's code is no error here.

    ``streams`` are closed in any case. ``timeout`` in seconds: then the container is killed, and ``timed_out`` says so.
    ``console`` is the socket that gets the terminal's master; ``attend`` waits in our place (a terminal's proxy). Raises
    PyrtError when the container cannot be started; in every case nothing of it is left.
    """
    try:
        tidy()
        prepared = prepare(req, tty_size=tty_size)
        container_id = new_id()
        with _cidfile(req.cidfile, container_id):
            launched = _launch(prepared, container_id, streams, flags | native.RUN_TRACE * trace, console)
            try:
                last, timed_out = _wait(launched, timeout, attend)
            except OpFailed as e:
                raise _named(e, prepared, container_id) from None
    finally:
        streams.close()
    code, signal = exit_code(last.wait_status)
    executor, (out, err) = launched.executor, streams.collect
    return Completed(
        args=req.args,
        returncode=code,
        stdout=executor.output(0) if out >= 0 else None,
        stderr=executor.output(1) if err >= 0 else None,
        signal=signal,
        oom_killed=last.usage[native.USAGE_OOM_KILLS] > 0,
        timed_out=timed_out,
        usage=_usage(last),
        trace=_trace(prepared, launched, container_id) if trace else None,
        id=container_id,
    )


def tidy() -> None:
    """Removes what killed processes left behind; at first use, then once a minute."""
    global _swept
    now = time.monotonic()
    if now - _swept < SWEEP_EVERY or not _sweep_lock.acquire(blocking=False):
        return
    try:
        _swept = now
        sweep(host_facts())
    finally:
        _sweep_lock.release()


def _launch(prepared: Prepared, container_id: str, streams: Streams, flags: int, console: int) -> Launch:
    try:
        launched = launch(
            prepared.plan,
            prepared.encoded(container_id),
            stdio=streams.child,
            fds=_fds(prepared, console),
            flags=flags,
            feed=streams.feed,
            collect=streams.collect,
        )
    except OSError as e:
        number = e.errno or errno.EIO
        raise OpFailed(-1, "start the executor", number, e.strerror or "") from e
    streams.launched()
    return launched


def _fds(prepared: Prepared, console: int) -> tuple[int, ...]:
    """The plan's slots: the console's socket if there is one, then the loaded device program."""
    program = device_program(prepared.device_program) if prepared.device_program else -1
    return tuple(fd for fd in (console, program) if fd >= 0)


def _wait(launched: Launch, timeout: float | None, attend: Callable[[Launch], Message] | None) -> tuple[Message, bool]:
    timed_out = False
    try:
        last = attend(launched) if attend is not None else launched.wait(timeout)
        if last is None:
            timed_out = True
            launched.kill(9)
        while last is None or last.type != native.MSG_EXITED:
            last = launched.wait()
    except BaseException:
        launched.abandon()
        raise
    return last, timed_out


def _usage(last: Message) -> Usage:
    got = last.usage
    return Usage(
        cpu_ns=got[native.USAGE_CPU_NS] or None,
        cpu_user_ns=got[native.USAGE_CPU_USER_NS] or None,
        cpu_system_ns=got[native.USAGE_CPU_SYSTEM_NS] or None,
        memory_peak=got[native.USAGE_MEMORY_PEAK] or None,
        pids_peak=got[native.USAGE_PIDS_PEAK] or None,
        io_read=got[native.USAGE_IO_READ],
        io_write=got[native.USAGE_IO_WRITE],
        oom_kills=got[native.USAGE_OOM_KILLS],
        setup_ns=last.exec_ns - last.start_ns,
        wall_ns=last.exit_ns - last.exec_ns,
        cleanup_ns=last.done_ns - last.exit_ns,
    )


def _named(error: OpFailed, prepared: Prepared, container_id: str) -> OpFailed:
    """The same failure, told with the container's own id."""
    if error.op < 0:
        return error
    words, detail = (prepared.named(text, container_id) for text in (error.words, error.detail))
    return type(error)(error.op, words, error.errno, detail, error.hint)


def _trace(prepared: Prepared, launched: Launch, container_id: str) -> tuple[TraceOp, ...]:
    """The plan's ops with the times at which they ran."""
    from pyrt.runtime.plan.explain import side, words

    entries = launched.trace() or ()
    return tuple(
        TraceOp(
            index=index,
            side=side(op),
            words=prepared.named(words(op), container_id),
            why=op.why,
            begin_ns=entry.begin_ns,
            end_ns=entry.end_ns,
            error=entry.errno,
        )
        for index, (op, entry) in enumerate(zip(prepared.plan.ops, entries, strict=False))
    )


class _cidfile:
    """Writes the container's id to a new file; takes it away when the container could not be started."""

    __slots__ = ("_id", "_path")

    def __init__(self, path: str, container_id: str) -> None:
        self._path = path
        self._id = container_id

    def __enter__(self) -> None:
        if not self._path:
            return
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            raise InvalidRequest(f"container ID file found, make sure the other container isn't running or delete {self._path}") from None
        except OSError as e:
            raise PyrtError(f"failed to create the container ID file {self._path}: {errno_words(e.errno or 0)}") from e
        try:
            os.write(fd, self._id.encode())
        finally:
            os.close(fd)

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self._path and kind is not None:
            try:
                os.unlink(self._path)
            except FileNotFoundError:
                pass

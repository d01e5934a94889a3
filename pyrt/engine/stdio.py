"""What a container's standard streams are connected to, said as subprocess says it."""

from __future__ import annotations

import os
from typing import IO, TypeAlias

from pyrt.base.errors import InvalidRequest

__all__ = ["DEVNULL", "PIPE", "STDOUT", "Stream", "Streams", "connect"]

# The values of the subprocess module, which costs milliseconds to import.
PIPE = -1
STDOUT = -2
DEVNULL = -3

Stream: TypeAlias = int | IO[bytes] | IO[str] | None
"""None: the caller's own stream. PIPE, DEVNULL, STDOUT (for stderr), an fd, or an object with fileno()."""


class Streams:
    """Open ends. ``child`` are the container's fds 0, 1, 2; ``feed`` and ``collect`` go to `launch`, which owns them after
    `launched`. `close` closes what is still ours; it can be called twice."""

    __slots__ = ("_ends", "_temporary", "child", "collect", "feed")

    def __init__(self) -> None:
        self.child = (0, 1, 2)
        self.feed: tuple[int, bytes] | None = None
        self.collect = (-1, -1)
        self._temporary: list[int] = []  # the container's ends: ours only until it runs
        self._ends: list[int] = []  # our ends of its pipes

    def pipe(self, ours: int) -> tuple[int, int]:
        """A new pipe as (container's end, our end); ``ours`` is 0 when we read, 1 when we write."""
        pair = os.pipe2(os.O_CLOEXEC)
        self._temporary.append(pair[1 - ours])
        self._ends.append(pair[ours])
        return pair[1 - ours], pair[ours]

    def null(self) -> int:
        """/dev/null, opened for both."""
        fd = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        self._temporary.append(fd)
        return fd

    def launched(self) -> None:
        """The executor has the container's ends, and the launch has ours."""
        self._ends.clear()
        self.close()

    def close(self) -> None:
        """Closes what is still ours."""
        for fd in (*self._temporary, *self._ends):
            os.close(fd)
        self._temporary.clear()
        self._ends.clear()


def connect(data: bytes | None, stdin: Stream, stdout: Stream, stderr: Stream) -> Streams:
    """``data`` is fed to stdin when given. Raises InvalidRequest for a combination that makes no sense."""
    streams = Streams()
    try:
        if data is not None:
            if stdin is not None:
                raise InvalidRequest("stdin and input arguments may not both be used")
            ours_in, write_end = streams.pipe(1)
            streams.feed = (write_end, data)
        else:
            ours_in = _source(streams, stdin)
        out, out_end = _sink(streams, stdout, 1, "stdout")
        if stderr == STDOUT:
            err, err_end = out, -1
        else:
            err, err_end = _sink(streams, stderr, 2, "stderr")
        streams.collect = (out_end, err_end)
        streams.child = (ours_in, out, err)
    except BaseException:
        streams.close()
        raise
    return streams


def _source(streams: Streams, stream: Stream) -> int:
    if stream == DEVNULL:
        return streams.null()
    if stream in (PIPE, STDOUT):
        raise InvalidRequest("stdin: to write to the container, pass the data as input, or an fd")
    return _fd(stream, 0, "stdin")


def _sink(streams: Streams, stream: Stream, own: int, name: str) -> tuple[int, int]:
    if stream == PIPE:
        return streams.pipe(0)
    if stream == DEVNULL:
        return streams.null(), -1
    return _fd(stream, own, name), -1


def _fd(stream: Stream, own: int, name: str) -> int:
    if stream is None:
        return own
    fd = stream if isinstance(stream, int) else stream.fileno()
    if fd < 0:
        raise InvalidRequest(f"{name}: {fd} is not a file descriptor")
    return fd

"""`-t`: a terminal of the container's own, shown on ours.

The pty is made inside the container; its master comes back over a socket (SCM_RIGHTS). From then on this process copies
keystrokes in and output out, and passes on changes of the window's size. Our terminal is in raw mode meanwhile, and is put
right again however this ends.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import socket
import struct
import termios
import tty
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pyrt import native
from pyrt.cli.signals import forwarding

if TYPE_CHECKING:
    from pyrt.native.executor import Message
    from pyrt.runtime.launch import Launch

__all__ = ["Terminal"]

_CHUNK = 1 << 16


class Terminal:
    """The two ends of one interactive run; a context manager that restores our terminal."""

    def __init__(self, interactive: bool) -> None:
        self._interactive = interactive
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._master = -1
        self._pending = b""
        self._saved: list[Any] | None = None
        self._screen = next((fd for fd in (0, 1, 2) if os.isatty(fd)), -1)

    @property
    def console(self) -> int:
        """The end of the socket that the container's side sends the master to."""
        return self._theirs.fileno()

    def size(self) -> tuple[int, int]:
        """(rows, columns) of our terminal; zeros when we have none."""
        if self._screen < 0:
            return (0, 0)
        rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(self._screen, termios.TIOCGWINSZ, bytes(8)))
        return rows, columns

    def __enter__(self) -> Terminal:
        if self._interactive and os.isatty(0):
            self._saved = termios.tcgetattr(0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._restore()
        for fd in (self._master, self._wake_read, self._wake_write):
            if fd >= 0:
                os.close(fd)
        self._ours.close()
        self._theirs.close()

    def _restore(self) -> None:
        if self._saved is None:
            return
        # In the background this would stop us: the shell has the terminal then, and has put it right itself.
        before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        try:
            termios.tcsetattr(0, termios.TCSADRAIN, self._saved)
        except termios.error:
            pass  # it is gone
        signal.signal(signal.SIGTTOU, before)

    def attend(self, launched: Launch) -> Message:
        """Copies until the container has ended; returns the executor's last message."""
        self._theirs.close()
        if self._saved is not None:
            tty.setraw(0, termios.TCSADRAIN)
        signal.signal(signal.SIGWINCH, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        try:
            with forwarding(launched):
                return self._copy(launched)
        finally:
            signal.set_wakeup_fd(-1)
            self._restore()

    def _copy(self, launched: Launch) -> Message:
        control, console = launched.executor.control_fd, self._ours.fileno()
        poll = select.poll()
        poll.register(control, select.POLLIN)
        poll.register(console, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        while True:
            for fd, events in poll.poll():
                if fd == control:
                    message = launched.wait(0)
                    if message is not None and message.type == native.MSG_EXITED:
                        self._drain()
                        return message
                elif fd == console:
                    poll.unregister(console)
                    self._receive_master()
                    if self._master >= 0:
                        poll.register(self._master, select.POLLIN)
                        if self._interactive:
                            poll.register(0, select.POLLIN)
                elif fd == self._wake_read:
                    os.read(self._wake_read, _CHUNK)
                    self._resize()
                elif fd == 0:
                    self._from_keyboard(poll)
                elif fd == self._master:
                    self._master_ready(events, poll)

    def _receive_master(self) -> None:
        _, fds, _, _ = socket.recv_fds(self._ours, 256, 4)
        if not fds:
            return
        self._master = fds[0]
        for extra in fds[1:]:
            os.close(extra)
        os.set_inheritable(self._master, False)
        os.set_blocking(self._master, False)
        self._resize()

    def _resize(self) -> None:
        rows, columns = self.size()
        if self._master >= 0 and rows and columns:
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _from_keyboard(self, poll: select.poll) -> None:
        try:
            data = os.read(0, _CHUNK)
        except OSError as e:
            if e.errno in (errno.EAGAIN, errno.EINTR):
                return
            data = b""
        if not data:
            poll.unregister(0)
            return
        self._pending += data
        self._to_container(poll)

    def _to_container(self, poll: select.poll) -> None:
        try:
            while self._pending:
                self._pending = self._pending[os.write(self._master, self._pending) :]
        except BlockingIOError:
            pass
        except OSError:
            self._pending = b""  # nobody reads any more; the end is near
        # While the container does not read, neither do we.
        poll.register(self._master, select.POLLIN | (select.POLLOUT if self._pending else 0))
        if self._pending:
            try:
                poll.unregister(0)
            except KeyError:
                pass
        else:
            poll.register(0, select.POLLIN)

    def _master_ready(self, events: int, poll: select.poll) -> None:
        if events & select.POLLOUT:
            self._to_container(poll)
        if events & (select.POLLIN | select.POLLHUP | select.POLLERR) and not self._show():
            # Every process of the container has closed the terminal: what is left is to wait for its end.
            poll.unregister(self._master)

    def _show(self) -> bool:
        """Copies one chunk of output; False at its end."""
        try:
            data = os.read(self._master, _CHUNK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        view = memoryview(data)
        while view:
            view = view[os.write(1, view) :]
        return bool(data)

    def _drain(self) -> None:
        while self._master >= 0 and select.select([self._master], [], [], 0)[0] and self._show():
            pass

"""Signals that reach this process go on to the container.

What the terminal sends (^C, ^\\) goes to the whole foreground process group, and so to the executor as well, which hands
it on by itself. Only what somebody sent to us with kill(2) is forwarded from here: sigwaitinfo(2) tells the one from the
other.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrt.runtime.launch import Launch

__all__ = ["FORWARDED", "forwarding"]

_SI_KERNEL = 0x80

_KEPT = {signal.SIGCHLD, signal.SIGCONT, signal.SIGPIPE, signal.SIGKILL, signal.SIGSTOP, signal.SIGTSTP}
_KEPT |= {signal.SIGTTIN, signal.SIGTTOU, signal.SIGURG, signal.SIGWINCH}
# Our own faults are not the container's.
_KEPT |= {signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGSYS, signal.SIGTRAP}

FORWARDED = frozenset(signal.valid_signals() - _KEPT)


@contextmanager
def forwarding(launched: Launch) -> Iterator[None]:
    """Until the block ends, signals for us are signals for the container. For the main thread of a command."""
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)

    def listen() -> None:
        while True:
            info = signal.sigwaitinfo(FORWARDED)
            if info.si_code != _SI_KERNEL:
                launched.kill(info.si_signo)

    threading.Thread(target=listen, name="pyrt-signals", daemon=True).start()
    # The mask stays: the command is about to end, and a late signal must not change its exit code.
    yield

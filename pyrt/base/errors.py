"""The one tree of pyrt's exceptions.

::

    PyrtError                     exit code 125
    ├── InvalidRequest            a flag or argument makes no sense            (also a ValueError)
    │   └── InvalidSpec           a config.json makes no sense; names the JSON path
    ├── NotFound                  no such image, container, file               (also a LookupError)
    ├── Conflict                  the name is taken, the state forbids it
    ├── Unsupported               this kernel or this user cannot do it
    ├── OpFailed                  an op of the plan failed: the container never started
    │   ├── CommandNotFound       exit code 127
    │   └── CommandNotExecutable  exit code 126
    ├── ContainerFailed           check=True and the container returned non-zero
    └── ContainerTimeout          the time was up, where that is an error      (also a TimeoutError)

``str(error)`` is always one clear line without a trailing newline; ``error.exit_code`` is what a command line
answers with.
"""

from __future__ import annotations

import errno as _errno
import os
from typing import Any, Protocol

__all__ = [
    "CommandNotExecutable",
    "CommandNotFound",
    "Conflict",
    "ContainerFailed",
    "ContainerTimeout",
    "InvalidRequest",
    "InvalidSpec",
    "NotFound",
    "OpFailed",
    "PyrtError",
    "Unsupported",
    "errno_words",
]


def errno_words(number: int) -> str:
    """``ENOENT (No such file or directory)`` for 2; ``errno 9999`` for a number nobody knows."""
    name = _errno.errorcode.get(number)
    return f"{name} ({os.strerror(number)})" if name else f"errno {number}"


def _one_line(text: str) -> str:
    return " ".join(text.split()) if "\n" in text or "\r" in text else text


class PyrtError(Exception):
    """The root of the tree. Catch this to catch everything that pyrt raises on purpose."""

    exit_code = 125

    def __str__(self) -> str:
        return _one_line(super().__str__())


class InvalidRequest(PyrtError, ValueError):
    """A flag, an argument or their combination makes no sense; nothing was done."""


class InvalidSpec(InvalidRequest):
    """A config.json makes no sense. ``path`` is the JSON path, as ``process.user.uid``; "" means the file itself."""

    def __init__(self, message: str, path: str = "") -> None:
        self.path = path
        super().__init__(f"{path}: {message}" if path else message)


class NotFound(PyrtError, LookupError):
    """No such image, container, file or user."""


class Conflict(PyrtError):
    """The name is taken, or the state that the object is in forbids the operation."""


class Unsupported(PyrtError):
    """This kernel, or this user on this machine, cannot do what was asked."""


class OpFailed(PyrtError):
    """An op of the plan failed, so the container never started; everything made for it has been unmade.

    ``op`` is its index in the plan (-1: no op), ``words`` what it was to do (``mount overlay on /``), ``errno`` the
    positive error number, ``detail`` the step inside it, ``hint`` what to do about it ("" if nobody knows).
    """

    def __init__(self, op: int, words: str, errno: int, detail: str = "", hint: str = "") -> None:
        self.op = op
        self.words = words
        self.errno = errno
        self.detail = detail
        self.hint = hint
        where = f"op {op} {words}" if op >= 0 else words
        text = f"{where}: {errno_words(errno)}"
        if detail:
            text += f" at {detail}"
        if hint:
            text += f": {hint}"
        super().__init__(text)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.op, self.words, self.errno, self.detail, self.hint)


class CommandNotFound(OpFailed):
    """The command does not exist in the container."""

    exit_code = 127


class CommandNotExecutable(OpFailed):
    """The command exists in the container, but cannot be executed."""

    exit_code = 126


class _Ended(Protocol):
    """What ContainerFailed needs of `pyrt.model.run.Completed`."""

    @property
    def args(self) -> Any: ...
    @property
    def returncode(self) -> int: ...
    @property
    def stdout(self) -> Any: ...
    @property
    def stderr(self) -> Any: ...


class ContainerFailed(PyrtError):
    """check=True and the container did not return 0. ``completed`` is all that is known about the run.

    Has the attributes of `subprocess.CalledProcessError`: returncode, cmd, output, stdout, stderr.
    """

    def __init__(self, completed: _Ended) -> None:
        self.completed = completed
        self.returncode = completed.returncode
        self.cmd = completed.args
        self.stdout = completed.stdout
        self.stderr = completed.stderr
        code = completed.returncode
        signal = getattr(completed, "signal", 0)
        how = f"died of signal {signal}" if signal else f"returned {code}"
        if getattr(completed, "oom_killed", False):
            how += " (out of memory)"
        if getattr(completed, "timed_out", False):
            how += " (time was up)"
        super().__init__(f"container command {list(completed.args)!r} {how}")

    @property
    def output(self) -> Any:
        """Same as stdout."""
        return self.stdout

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """The container's own exit code, 128+n for signal n."""
        return self.returncode

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.completed,)


class ContainerTimeout(PyrtError, TimeoutError):
    """The time was up, where that is an error. ``seconds`` is how long was allowed."""

    def __init__(self, message: str, seconds: float | None = None) -> None:
        self.seconds = seconds
        super().__init__(message)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.args[0], self.seconds)

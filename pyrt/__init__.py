"""pyrt: a container engine that you can import.

::

    import pyrt

    done = pyrt.run("host", ["sh", "-c", "id; hostname"], text=True, memory="64m", timeout=5)
    print(done.returncode, done.stdout, done.usage.memory_peak)

`run` is shaped like `subprocess.run`; `explain` shows what it would do. All errors derive from `PyrtError`. Importing costs
next to nothing: the engine is loaded at its first use.
"""

from __future__ import annotations

import typing as _typing

from pyrt.base.errors import (
    CommandNotExecutable,
    CommandNotFound,
    Conflict,
    ContainerFailed,
    ContainerTimeout,
    InvalidRequest,
    InvalidSpec,
    NotFound,
    OpFailed,
    PyrtError,
    Unsupported,
)

if _typing.TYPE_CHECKING:
    from pyrt.engine.api import explain, run
    from pyrt.model.run import Completed, Device, Mount, Tmpfs, TraceOp, Ulimit, Usage

__version__ = "0.1.0"

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "CommandNotExecutable",
    "CommandNotFound",
    "Completed",
    "Conflict",
    "ContainerFailed",
    "ContainerTimeout",
    "Device",
    "InvalidRequest",
    "InvalidSpec",
    "Mount",
    "NotFound",
    "OpFailed",
    "PyrtError",
    "Tmpfs",
    "TraceOp",
    "Ulimit",
    "Unsupported",
    "Usage",
    "explain",
    "run",
]

PIPE = -1
STDOUT = -2
DEVNULL = -3

_LAZY = {
    "explain": "pyrt.engine.api",
    "run": "pyrt.engine.api",
    "Completed": "pyrt.model.run",
    "Device": "pyrt.model.run",
    "Mount": "pyrt.model.run",
    "Tmpfs": "pyrt.model.run",
    "TraceOp": "pyrt.model.run",
    "Ulimit": "pyrt.model.run",
    "Usage": "pyrt.model.run",
}


def __getattr__(name: str) -> _typing.Any:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module 'pyrt' has no attribute {name!r}")
    import importlib

    value = globals()[name] = getattr(importlib.import_module(module), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

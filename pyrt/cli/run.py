"""`pyrt run`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from pyrt import native
from pyrt.base.errors import InvalidRequest, PyrtError, errno_words
from pyrt.cli.options import OPTIONAL_VALUES, request_from, run_options
from pyrt.cli.signals import forwarding
from pyrt.cli.syntax import DockerCommand
from pyrt.engine import stdio
from pyrt.engine.run import run as run_request

if TYPE_CHECKING:
    from pyrt.model.run import Completed, RunRequest
    from pyrt.native.executor import Message
    from pyrt.runtime.launch import Launch

__all__ = ["run"]


@click.command(cls=DockerCommand, optional_values=OPTIONAL_VALUES, options_metavar="[OPTIONS]")
@click.option("--trace", metavar="file", help="Show what was done and how long it took; =FILE.json: Chrome trace events")
@run_options
def run(trace: str | None, **given: Any) -> int:
    """Create and run a new container from an image"""
    req = request_from(given)
    if not req.tty:
        return _direct(req, trace).returncode
    return _with_terminal(req, trace).returncode


def _direct(req: RunRequest, trace: str | None) -> Completed:
    """Our own streams are the container's: nothing is copied."""
    streams = stdio.connect(None, None if req.interactive else stdio.DEVNULL, None, None)
    done = run_request(req, streams, trace=trace is not None, flags=native.RUN_SIGPROXY, attend=_attend)
    _show_trace(req, done, trace, (0, 0))
    return done


def _attend(launched: Launch) -> Message:
    with forwarding(launched):
        message = launched.wait()
        while message is None or message.type == native.MSG_STOPPED:
            message = launched.wait()
        return message


def _with_terminal(req: RunRequest, trace: str | None) -> Completed:
    from pyrt.cli.terminal import Terminal

    if req.interactive and not os.isatty(0):
        raise InvalidRequest("the input device is not a TTY")
    streams = stdio.connect(None, stdio.DEVNULL, stdio.DEVNULL, stdio.DEVNULL)
    with Terminal(req.interactive) as terminal:
        size = terminal.size()
        done = run_request(
            req,
            streams,
            trace=trace is not None,
            flags=native.RUN_SIGPROXY,
            console=terminal.console,
            tty_size=size,
            attend=terminal.attend,
        )
    _show_trace(req, done, trace, size)
    return done


def _show_trace(req: RunRequest, done: Completed, where: str | None, size: tuple[int, int]) -> None:
    if where is None:
        return
    from pyrt.engine.explain import chrome_trace, trace_table

    if where in ("", "-"):
        print(trace_table(req, done, size), file=sys.stderr)
        return
    try:
        with open(where, "w", encoding="utf-8") as file:
            file.write(chrome_trace(req, done, size))
    except OSError as e:
        raise PyrtError(f"--trace={where}: {errno_words(e.errno or 0)}") from None

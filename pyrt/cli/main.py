"""The `pyrt` command: a group whose commands are loaded when they are used, and exit codes as docker has them."""

from __future__ import annotations

import importlib
import os
import sys

import click

import pyrt
from pyrt.base.errors import PyrtError
from pyrt.cli.syntax import usage_line

__all__ = ["cli", "main"]

_COMMANDS = {
    "explain": ("pyrt.cli.explain", "explain"),
    "run": ("pyrt.cli.run", "run"),
    "version": ("pyrt.cli.version", "version"),
}


class LazyGroup(click.Group):
    """A group that imports a command's module only when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = _COMMANDS.get(cmd_name)
        if place is None:
            return None
        command = getattr(importlib.import_module(place[0]), place[1])
        assert isinstance(command, click.Command)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in _COMMANDS:
            raise click.UsageError(f"'{args[0]}' is not a pyrt command", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["--help", "-h"]}, invoke_without_command=False)
@click.version_option(pyrt.__version__, "-v", "--version", prog_name="pyrt", message="%(prog)s version %(version)s")
def cli() -> None:
    """A container engine: plans in Python, executes in C."""


def main(argv: list[str] | None = None) -> None:
    """Runs a command line and exits: the container's code, or 125 for a failure of our own, 126 and 127 for a command that
    cannot be executed or does not exist, 128+n for a signal."""
    _open_standard_streams()
    sys.exit(_main(sys.argv[1:] if argv is None else argv))


def _open_standard_streams() -> None:
    """A stream that the caller closed becomes /dev/null, so that no file of ours ever takes its number."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)


def _main(argv: list[str]) -> int:
    try:
        code = cli.main(args=argv, prog_name="pyrt", standalone_mode=False)
        if sys.stdout is not None:  # closed by the caller
            sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as e:
        click.echo(e.format_message())
        return 0
    except click.UsageError as e:
        return _complain(usage_line(e))
    except click.ClickException as e:
        return _complain(e.format_message())
    except click.exceptions.Exit as e:
        return e.exit_code
    except PyrtError as e:
        return _complain(str(e), e.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone: nothing to say, and nothing to flush at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), 1)
        return 141
    except (OSError, MemoryError, UnicodeError) as e:
        return _complain(f"{type(e).__name__}: {e}")


def _complain(text: str, code: int = 125) -> int:
    line = " ".join(text.split())
    try:
        print(f"pyrt: {line}", file=sys.stderr, flush=True)
    except (OSError, ValueError):
        pass
    return code

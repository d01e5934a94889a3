"""Flags as Go programs take them, made fit for click, and click's complaints as one line of docker's kind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

__all__ = ["DockerCommand", "normalize", "usage_line"]

_TRUE = ("true", "t", "1")
_FALSE = ("false", "f", "0")
_BOOLEANS = (*_TRUE, *_FALSE)


class DockerCommand(click.Command):
    """A command whose flags end at the first argument, and may be written ``--flag=true``, ``-m=64m``, ``--trace``.

    ``optional_values`` maps flags that may stand alone to the value that this means.
    """

    def __init__(self, *args: object, optional_values: dict[str, str] | None = None, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.optional_values = optional_values or {}
        self.context_settings = {"allow_interspersed_args": False, "help_option_names": ["--help"]}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, normalize(args, self.get_params(ctx), self.optional_values))

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        pieces = " ".join(self.collect_usage_pieces(ctx))
        formatter.write(f"Usage:  {ctx.command_path} {pieces}\n")


def normalize(args: Sequence[str], params: Iterable[click.Parameter], optional_values: dict[str, str]) -> list[str]:
    """``args`` with Go's spellings replaced by click's, up to the first argument that is no flag."""
    known: dict[str, click.Option] = {}
    for param in params:
        if isinstance(param, click.Option):
            known.update(dict.fromkeys(param.opts, param))
    out: list[str] = []
    rest = list(args)
    while rest:
        word = rest.pop(0)
        if word == "--" or not word.startswith("-") or word == "-":
            return [*out, word, *rest]
        if word.startswith("--"):
            _long(word, rest, out, known, optional_values)
        else:
            _short(word, rest, out, known)
    return out


def _long(word: str, rest: list[str], out: list[str], known: dict[str, click.Option], optional_values: dict[str, str]) -> None:
    name, equals, value = word.partition("=")
    option = known.get(name)
    if option is None:
        out.append(word)
    elif name in optional_values and not equals:
        alone = name == "--trace" or not rest or rest[0].startswith("-")
        out.append(f"{name}={optional_values[name] if alone else rest.pop(0)}")
    elif option.is_flag:
        if not equals:
            out.append(word)
        elif value.lower() not in _BOOLEANS:
            raise click.BadParameter(f'invalid argument "{value}" for "{name}" flag: not a boolean')
        elif value.lower() in _TRUE:
            out.append(name)
    elif equals or not rest:
        out.append(word)
    else:
        out.append(f"{name}={rest.pop(0)}")


def _short(word: str, rest: list[str], out: list[str], known: dict[str, click.Option]) -> None:
    for at in range(1, len(word)):
        option = known.get("-" + word[at])
        if option is None:
            # docker names the letter and the group that it stands in
            more = f" in {word}" if len(word) > 2 else ""
            raise click.NoSuchOption("-" + word[at], f"unknown shorthand flag: '{word[at]}'{more}")
        if option.is_flag:
            if word[at + 1 : at + 2] == "=":
                if word[at + 2 :].lower() in _TRUE:
                    out.append("-" + word[at])
                return
            out.append("-" + word[at])
            continue
        value = word[at + 1 :]
        if value.startswith("="):
            value = value[1:]
        elif not value:
            if not rest:
                raise click.UsageError(f"flag needs an argument: '{word[at]}' in {word}")
            value = rest.pop(0)
        long = next((name for name in option.opts if name.startswith("--")), option.opts[0])
        out.append(f"{long}={value}")
        return


def usage_line(error: click.UsageError) -> str:
    """What is wrong with a command line, in one line."""
    if isinstance(error, click.NoSuchOption):
        text = error.message if error.message.startswith("unknown") else f"unknown flag: {error.option_name}"
    elif isinstance(error, click.BadOptionUsage) and "requires" in error.message:
        text = f"flag needs an argument: {error.option_name}"
    else:
        text = error.format_message()
    text = " ".join(text.split()).rstrip(".")
    where = error.ctx.command_path if error.ctx else "pyrt"
    return f"{text}: see '{where} --help'"

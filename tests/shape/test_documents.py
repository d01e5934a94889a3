"""What is public is documented."""

from __future__ import annotations

import inspect
import re

import pytest

import pyrt
from tests.shape.tree import CSRC, TOP

# The flags that Docker's users bring along, as far as `run` takes them.
DOCKER_FLAGS = [
    "--rm", "-i", "-t", "-e", "--env-file", "-w", "-u", "--hostname", "--name",
    "-m", "--memory-swap", "--cpus", "--cpu-shares", "--cpuset-cpus", "--pids-limit", "--ulimit", "--read-only", "--tmpfs",
    "-v", "--mount", "--cap-add", "--cap-drop", "--privileged", "--security-opt", "--device", "--sysctl", "--shm-size",
    "--init", "--entrypoint", "--label", "--stop-signal", "--network", "--pid", "--ipc", "--uts", "--userns",
    "--cgroupns", "--cidfile", "--rootfs", "--trace",
]


def test_each_export_is_there_and_says_what_it_is() -> None:
    assert pyrt.__all__
    for name in pyrt.__all__:
        thing = getattr(pyrt, name)
        if inspect.isclass(thing) or inspect.isroutine(thing):
            assert thing.__dict__.get("__doc__") if inspect.isclass(thing) else thing.__doc__, f"pyrt.{name} has no docstring"


def test_exports_come_from_no_room_by_accident() -> None:
    """What `dir` shows is the API: nothing public that __all__ does not name, but for rooms already imported."""
    rooms = {p.stem for p in (TOP / "pyrt").iterdir() if p.is_dir() or p.suffix == ".py"}
    shown = {name for name in vars(pyrt) if not name.startswith("_")} - {"annotations", "Any", "TYPE_CHECKING"}
    assert shown - set(pyrt.__all__) - rooms == set()


def _commands(group: object, path: str = "pyrt") -> list[tuple[str, object]]:
    click = pytest.importorskip("click")
    if not isinstance(group, click.Group):
        return [(path, group)]
    context = click.Context(group, info_name=path)
    found = [(path, group)]
    for name in group.list_commands(context):
        found += _commands(group.get_command(context, name), f"{path} {name}")
    return found


def test_each_command_and_option_has_help() -> None:
    click = pytest.importorskip("click")
    from pyrt.cli import main

    group = next(value for value in vars(main).values() if isinstance(value, click.Group))
    silent = []
    for path, command in _commands(group):
        if not command.help and not command.short_help:
            silent.append(path)
        silent += [
            f"{path} {parameter.opts[0]}"
            for parameter in command.params
            if isinstance(parameter, click.Option) and not parameter.help and not parameter.hidden
        ]
    assert silent == []


def test_run_takes_dockers_flags() -> None:
    click = pytest.importorskip("click")
    from pyrt.cli import main

    group = next(value for value in vars(main).values() if isinstance(value, click.Group))
    context = click.Context(group, info_name="pyrt")
    for name in ("run", "explain"):
        command = group.get_command(context, name)
        assert command is not None
        options = {opt for parameter in command.params for opt in (*parameter.opts, *parameter.secondary_opts)}
        wanted = {flag for flag in DOCKER_FLAGS if not (name == "explain" and flag == "--trace")}
        assert wanted - options == set()


def test_each_op_of_the_plan_is_described() -> None:
    header = (CSRC / "pyrt.h").read_text()
    assert len(re.findall(r"^ +PYRT_OP_\w+ = \d+,", header, re.MULTILINE)) > 50
    assert re.findall(r"^ +PYRT_OP_(?!NONE|CODES)\w+ = \d+,?\s*$", header, re.MULTILINE) == []


def test_readme_names_what_there_is() -> None:
    readme = (TOP / "README.md").read_text()
    for needed in (".ci/pyrt run --rm host", ".ci/test", "pyrt-oci", "pyrt explain", "import pyrt", "Apache-2.0"):
        assert needed in readme

"""poststart and poststop: all run, failures are told and stop nothing."""

from __future__ import annotations

import json
from pathlib import Path

from pyrt.model import oci
from pyrt.runtime.oci.hooks import run_hooks

STATE = oci.State(oci_version="1.2.0", id="c1", status="running", bundle="/b", pid=7)


def hook(script: str, *more: str, timeout: int | None = None, env: tuple[str, ...] = ()) -> oci.Hook:
    return oci.Hook(path="/bin/sh", args=("sh", "-c", script, *more), timeout=timeout, env=env)


def test_state_comes_on_stdin_and_the_environment_is_the_hooks_own(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run_hooks((hook(f"cat >{out}; /usr/bin/env >>{out}.env", env=("A=b=c",)),), STATE, "poststart") == []
    assert json.loads(out.read_text())["pid"] == 7
    variables = (tmp_path / "out.env").read_text().splitlines()
    assert "A=b=c" in variables
    assert not any(v.startswith(("HOME=", "PATH=/")) and "A=" in v for v in variables)
    assert not any(v.startswith("HOME=") for v in variables)


def test_failures_are_warnings_and_the_rest_runs(tmp_path: Path) -> None:
    hooks = (
        hook("echo no luck >&2; exit 3"),
        hook("kill -9 $$"),
        hook("sleep 60", timeout=1),
        oci.Hook(path="/no/such/hook"),
        hook(f"echo ran >{tmp_path}/ran"),
    )
    warnings = run_hooks(hooks, STATE, "poststop")
    assert [w.split(": ", 1)[1] for w in warnings] == [
        "exit status 3: no luck",
        "signal SIGKILL",
        "still running after 1 seconds",
        "ENOENT (No such file or directory)",
    ]
    assert (tmp_path / "ran").exists()


def test_args_are_as_given() -> None:
    assert run_hooks((oci.Hook(path="/bin/sh", args=("x", "-c", 'test "$0" = x')),), STATE, "poststop") == []

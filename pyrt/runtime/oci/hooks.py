"""Hooks that run when the executor is no longer there: poststart and poststop (config.md "POSIX-platform Hooks")."""

from __future__ import annotations

import os
import signal

from pyrt.base.errors import errno_words
from pyrt.model import oci

__all__ = ["run_hooks"]


def run_hooks(hooks: tuple[oci.Hook, ...], state: oci.State, kind: str) -> list[str]:
    """Runs every hook to its end with `state` on stdin, the next one whatever the last one did; gives the warnings."""
    if not hooks:
        return []
    document = oci.to_json(state)
    warnings = []
    for hook in hooks:
        failed = _run(hook, document)
        if failed:
            warnings.append(f"error running {kind} hook {hook.path}: {failed}")
    return warnings


def _run(hook: oci.Hook, document: bytes) -> str:
    """Why the hook failed, "" when it did not."""
    import subprocess

    try:
        done = subprocess.run(
            hook.args or (hook.path,),
            executable=hook.path,
            env=None if hook.env is None else dict(entry.partition("=")[::2] for entry in hook.env),
            input=document,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=hook.timeout,
            check=False,
            cwd="/",
        )
    except subprocess.TimeoutExpired:
        return f"still running after {hook.timeout} seconds"
    except OSError as error:
        return errno_words(error.errno or 0)
    except ValueError as error:
        return str(error)
    if done.returncode == 0:
        return ""
    if done.returncode < 0:
        return f"signal {signal.Signals(-done.returncode).name}"
    said = " ".join(os.fsdecode(done.stdout).split())[-200:]
    return f"exit status {done.returncode}" + (f": {said}" if said else "")

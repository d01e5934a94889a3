"""EXPLAIN for containers: the plan of a request or of a bundle, and with a trace EXPLAIN ANALYZE."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pyrt.base import paths
from pyrt.base.ids import new_id
from pyrt.engine.prepare import prepare
from pyrt.runtime.plan import explain as render

if TYPE_CHECKING:
    from pyrt.model.run import Completed, RunRequest

__all__ = ["chrome_trace", "explain", "explain_bundle", "trace_table"]


def explain(req: RunRequest, *, json: bool = False) -> str:
    """What `run` would do with ``req``, as a numbered table or as JSON. Raises what `run` raises before it starts."""
    prepared = prepare(req)
    text = render.to_json(prepared.plan) if json else render.render(prepared.plan)
    return prepared.named(text, new_id()).rstrip("\n")


def explain_bundle(bundle: str, *, json: bool = False) -> str:
    """What `pyrt-oci run` would do with an OCI bundle. Raises NotFound, InvalidSpec, Unsupported."""
    from pyrt.runtime.host import host_facts
    from pyrt.runtime.plan.compile import CompileOptions, compile_create
    from pyrt.runtime.spec.decode import load
    from pyrt.runtime.spec.validate import validate

    folder = os.path.abspath(bundle)
    spec = load(os.path.join(folder, "config.json"))
    validate(spec, folder)
    options = CompileOptions(id="explain", bundle=folder, run_dir=paths.run_dir())
    plan = compile_create(spec, host_facts(), options)
    return (render.to_json(plan) if json else render.render(plan)).rstrip("\n")


def trace_table(req: RunRequest, done: Completed, tty_size: tuple[int, int] = (0, 0)) -> str:
    """The plan of a run that was traced, with the microseconds that each op took."""
    prepared = prepare(req, tty_size=tty_size)
    text = render.render(prepared.plan, done.trace or ())
    return prepared.named(text, done.id).rstrip("\n")


def chrome_trace(req: RunRequest, done: Completed, tty_size: tuple[int, int] = (0, 0)) -> str:
    """The same as Chrome trace events."""
    prepared = prepare(req, tty_size=tty_size)
    return prepared.named(render.chrome_trace(prepared.plan, done.trace or ()), done.id)

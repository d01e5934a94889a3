"""`pyrt explain`."""

from __future__ import annotations

from typing import Any

import click

from pyrt.base.errors import InvalidRequest
from pyrt.cli.options import OPTIONAL_VALUES, request_from, run_options
from pyrt.cli.syntax import DockerCommand

__all__ = ["explain"]


@click.command(cls=DockerCommand, optional_values=OPTIONAL_VALUES, options_metavar="[OPTIONS]")
@click.option("--bundle", "-b", metavar="dir", help="Explain an OCI bundle instead of an image")
@click.option("--json", "as_json", is_flag=True, help="Print JSON")
@run_options
def explain(bundle: str | None, as_json: bool, **given: Any) -> int:
    """Show what run would do, op by op, without doing it"""
    from pyrt.engine import explain as engine
    from pyrt.engine.run import tidy

    tidy()
    if bundle is not None:
        if given["command"] or given["rootfs"] is not None:
            raise InvalidRequest("--bundle takes no image and no command: they stand in its config.json")
        text = engine.explain_bundle(bundle, json=as_json)
    else:
        text = engine.explain(request_from(given), json=as_json)
    click.echo(text)
    return 0

"""`pyrt version`."""

from __future__ import annotations

import os
import platform

import click

import pyrt

__all__ = ["version"]


@click.command(help="Show the pyrt version information")
def version() -> int:
    """Prints what a bug report needs to know."""
    from pyrt.runtime.spec import defaults

    system = os.uname()
    for name, value in (
        ("Version", pyrt.__version__),
        ("OCI runtime spec", defaults.OCI_VERSION),
        ("Python", platform.python_version()),
        ("Kernel", system.release),
        ("OS/Arch", f"linux/{system.machine}"),
    ):
        click.echo(f"{name + ':':<18} {value}")
    return 0

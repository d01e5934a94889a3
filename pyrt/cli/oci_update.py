"""`pyrt-oci update` and `pyrt-oci events`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click
import msgspec

from pyrt.base.errors import Conflict, InvalidRequest, Unsupported
from pyrt.model import oci

if TYPE_CHECKING:
    from pyrt.cli.oci import Globals

__all__ = ["events", "resources_from_flags", "update"]

_LIMITS = (
    ("blkio-weight", "blockIO", "weight", "weight of block I/O, 10 to 1000"),
    ("cpu-period", "cpu", "period", "CFS period in microseconds"),
    ("cpu-quota", "cpu", "quota", "CFS quota in microseconds"),
    ("cpu-burst", "cpu", "burst", "CFS burst in microseconds"),
    ("cpu-share", "cpu", "shares", "CPU shares"),
    ("cpu-rt-period", "cpu", "realtimePeriod", "realtime period in microseconds"),
    ("cpu-rt-runtime", "cpu", "realtimeRuntime", "realtime runtime in microseconds"),
    ("cpu-idle", "cpu", "idle", "1: SCHED_IDLE for the whole cgroup"),
    ("cpuset-cpus", "cpu", "cpus", "CPU(s) to use"),
    ("cpuset-mems", "cpu", "mems", "memory node(s) to use"),
    ("kernel-memory", "memory", "kernel", "ignored by kernels since 5.4"),
    ("kernel-memory-tcp", "memory", "kernelTCP", "TCP buffers' limit in bytes"),
    ("memory", "memory", "limit", "memory limit in bytes"),
    ("memory-reservation", "memory", "reservation", "soft limit in bytes"),
    ("memory-swap", "memory", "swap", "memory and swap together in bytes; -1: no limit"),
    ("pids-limit", "pids", "limit", "most tasks; -1: no limit"),
)
_RDT = ("l3-cache-schema", "mem-bw-schema")


def _limit_options(function: Any) -> Any:
    for name, _, _, text in reversed(_LIMITS):
        function = click.option(f"--{name}", default=None, help=text)(function)
    for name in _RDT:
        function = click.option(f"--{name}", default=None, help="Intel RDT")(function)
    return function


@click.command()
@click.option("--resources", "-r", default="", help="file with the resources as JSON, or '-' for stdin")
@_limit_options
@click.argument("container_id")
@click.pass_obj
def update(g: Globals, /, container_id: str, resources: str, **flags: str | None) -> None:
    """Update container resource constraints."""
    from pyrt.runtime.oci.limits import change_limits
    from pyrt.runtime.spec.decode import decode_as, load_as

    if any(flags[name.replace("-", "_")] for name in _RDT):
        raise Unsupported("Intel RDT is not supported")
    if resources == "-":
        wanted = decode_as(oci.LinuxResources, sys.stdin.buffer.read(), "resources from stdin")
    elif resources:
        wanted = load_as(oci.LinuxResources, resources)
    else:
        wanted = resources_from_flags({name.replace("_", "-"): value for name, value in flags.items()})
    with g.store.lock(container_id):
        change_limits(g.load(container_id), wanted)


def resources_from_flags(flags: dict[str, str | None]) -> oci.LinuxResources:
    """The flags of `update` as the specification's object. Raises InvalidRequest."""
    from pyrt.base.units import parse_size

    document: dict[str, dict[str, object]] = {}
    for name, part, field, _ in _LIMITS:
        text = flags.get(name)
        if not text:
            continue
        value: object = text
        if part == "memory":
            value = -1 if text == "-1" else parse_size(text)
        elif field not in ("cpus", "mems"):
            try:
                value = int(text)
            except ValueError:
                raise InvalidRequest(f'invalid value for {name}: "{text}" is not a number') from None
        document.setdefault(part, {})[field] = value
    try:
        return msgspec.convert(document, oci.LinuxResources)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"invalid limit: {error}") from None


@click.command()
@click.option("--interval", default="5s", help="set the stats collection interval")
@click.option("--stats", is_flag=True, help="display the container's stats then exit")
@click.argument("container_id")
@click.pass_obj
def events(g: Globals, container_id: str, interval: str, stats: bool) -> None:
    """Display container events: OOM notifications, and usage statistics at an interval."""
    from pyrt.base.units import parse_duration
    from pyrt.runtime.oci.container import STOPPED
    from pyrt.runtime.oci.events import statistics, watch

    seconds = parse_duration(interval)
    if seconds <= 0:
        raise InvalidRequest("duration interval must be greater than 0")
    container = g.load(container_id)
    if container.status() == STOPPED:
        raise Conflict(f"container with id {container_id} is not running")
    if stats:
        _print({"type": "stats", "id": container_id, "data": statistics(container)})
        return
    for event in watch(container, seconds):
        _print(event)


def _print(event: dict[str, Any]) -> None:
    click.echo(json.dumps(event, separators=(",", ":")))

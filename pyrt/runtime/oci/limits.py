"""update: other limits for a container that exists."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from pyrt.base.errors import Conflict
from pyrt.model import oci
from pyrt.runtime.oci.container import STOPPED, Container
from pyrt.runtime.spec.limits import validate_resources

__all__ = ["change_limits", "merged", "to_write"]

T = TypeVar("T", bound=oci.Oci)


def change_limits(container: Container, wanted: oci.LinuxResources) -> None:
    """Applies what `wanted` sets, leaves the rest, and remembers the sum. Device rules stay as they are, as in runc.

    Raises Conflict when the container has ended, InvalidSpec or Unsupported for limits that cannot be."""
    if container.status() == STOPPED:
        raise Conflict("container not running")
    wanted = msgspec.structs.replace(wanted, devices=())
    validate_resources(wanted, "$")
    record = container.record
    linux = record.config.linux or oci.Linux()
    before = linux.resources or oci.LinuxResources()
    after = merged(before, wanted)
    container.cgroup.update(to_write(wanted, after))
    linux = msgspec.structs.replace(linux, resources=after)
    config = msgspec.structs.replace(record.config, linux=linux)
    container.record = msgspec.structs.replace(record, config=config)
    container.store.save(container.record)


def merged(before: T, change: T) -> T:
    """`before` with every field that `change` sets; devices of block I/O are matched by their number."""
    fields: dict[str, Any] = {}
    for name in type(before).__struct_fields__:
        old, new = getattr(before, name), getattr(change, name)
        if isinstance(new, oci.Oci) and isinstance(old, oci.Oci):
            fields[name] = merged(old, new)
        elif isinstance(new, tuple) and old and new and hasattr(new[0], "major"):
            fields[name] = tuple({(d.major, d.minor): d for d in (*old, *new)}.values())
        elif isinstance(new, dict):
            fields[name] = {**old, **new}
        else:
            fields[name] = old if new in (None, "", ()) else new
    return type(before)(**fields)


def to_write(change: oci.LinuxResources, after: oci.LinuxResources) -> oci.LinuxResources:
    """`change`, with the other half of those pairs that the kernel only takes together: memory and swap, quota and
    period.
    """
    memory, cpu = change.memory, change.cpu
    if memory is not None and after.memory is not None and (memory.limit is not None or memory.swap is not None):
        swap = after.memory.swap
        if memory.limit == -1 and memory.swap is None:
            swap = -1
        memory = msgspec.structs.replace(memory, limit=after.memory.limit, swap=swap)
    if cpu is not None and after.cpu is not None and (cpu.quota is not None or cpu.period is not None):
        cpu = msgspec.structs.replace(cpu, quota=after.cpu.quota, period=after.cpu.period)
    return msgspec.structs.replace(change, memory=memory, cpu=cpu)

"""Where a container's cgroups are, in each hierarchy, and what they are called."""

from __future__ import annotations

import functools
import os
import posixpath
from collections.abc import Iterable, Sequence

from msgspec import Struct

from pyrt.base.errors import Unsupported
from pyrt.base.ids import short_id
from pyrt.runtime.host import Hierarchy, HostFacts

__all__ = ["FOLDER", "Layout", "container_path", "ephemeral_name", "ephemeral_path", "place", "start_time"]

FOLDER = "pyrt"
"""Every cgroup that pyrt names itself is below a folder of this name."""


class Layout(Struct, frozen=True):
    """The directories of one container: (hierarchy, host path), the journal's first, since what is made first is removed last."""

    entries: tuple[tuple[Hierarchy, str], ...] = ()

    @property
    def v2(self) -> str:
        """The directory in the v2 hierarchy, "" without."""
        return next((path for hierarchy, path in self.entries if hierarchy.v2), "")

    @property
    def v1(self) -> tuple[str, ...]:
        """The directories in v1 hierarchies."""
        return tuple(path for hierarchy, path in self.entries if not hierarchy.v2)

    @property
    def directories(self) -> tuple[str, ...]:
        """All of them, for a container's record."""
        return tuple(path for _, path in self.entries)

    def controller(self, name: str) -> tuple[str, bool] | None:
        """(directory, is v2) where a controller can be set, by its v1 or v2 name."""
        for hierarchy, path in self.entries:
            if not hierarchy.v2 and name in hierarchy.controllers:
                return path, False
        v2_name = {"blkio": "io", "cpuacct": "cpu"}.get(name, name)
        for hierarchy, path in self.entries:
            if hierarchy.v2 and v2_name in hierarchy.controllers:
                return path, True
        return None


def container_path(facts: HostFacts, cgroups_path: str, container_id: str) -> str:
    """The cgroup of a container from its spec's cgroupsPath, cleaned of ".." (config-linux.md "Cgroups Path").

    Absolute paths count from the top of each hierarchy; others, and the id where there is none, from where the caller is.
    systemd's ``slice:prefix:name`` becomes the path that systemd would use.
    """
    wanted = cgroups_path or container_id
    parts = wanted.split(":")
    if len(parts) == 3 and "/" not in wanted:
        slice_, prefix, name = parts
        unit = name if name.endswith(".slice") else f"{prefix}-{name}.scope" if prefix else f"{name}.scope"
        return f"/{_slice_path(slice_ or 'system.slice')}/{unit}"
    cleaned = posixpath.normpath("/" + wanted)
    return "/" + cleaned.strip("/") if wanted.startswith("/") else cleaned.strip("/")


def _slice_path(slice_: str) -> str:
    """``a-b.slice`` lies in ``a.slice`` (systemd.slice(5))."""
    name = slice_.removesuffix(".slice")
    steps = name.split("-")
    return "/".join("-".join(steps[: count + 1]) + ".slice" for count in range(len(steps)))


@functools.lru_cache(maxsize=4)
def start_time(pid: int) -> int:
    """When a process was started, in clock ticks after boot (proc_pid_stat(5)); 0 when there is none, or a
    zombie."""
    return read_start_time(pid)


def read_start_time(pid: int) -> int:
    """`start_time`, always read afresh."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
            return 0 if fields[0] in (b"Z", b"X") else int(fields[19])
    except (OSError, IndexError, ValueError):
        return 0


def ephemeral_name(container_id: str) -> str:
    """Name of a run's cgroup: whose it is (pid and start time of this process) and the container's short id."""
    pid = os.getpid()
    return f"eph-{pid:010d}-{start_time(pid):020d}-{short_id(container_id)}"


def ephemeral_parent(facts: HostFacts) -> str:
    """The cgroup path of the folder for ephemeral containers; "" when this user cannot make cgroups."""
    if not facts.cgroup_writable:
        return ""
    if facts.euid == 0:
        return f"/{FOLDER}"
    unified = facts.unified
    if unified is None or not unified.own:
        return ""
    return f"{os.path.dirname(unified.own)[len(unified.mount.rstrip('/')) :]}/{FOLDER}"


def ephemeral_path(facts: HostFacts, container_id: str) -> str:
    """The cgroup path of a run of this process; "" when this user cannot make cgroups."""
    parent = ephemeral_parent(facts)
    return f"{parent}/{ephemeral_name(container_id)}" if parent else ""


def place(facts: HostFacts, path: str, controllers: Iterable[str] | None = None) -> Layout:
    """The directories of a cgroup path: in every hierarchy, or in the journal and where ``controllers`` are."""
    journal = facts.journal
    if journal is None:
        return Layout()
    wanted = None if controllers is None else [facts.controller(name) for name in controllers]
    chosen = [journal]
    for hierarchy in facts.hierarchies:
        if hierarchy is not journal and (wanted is None or hierarchy in wanted):
            chosen.append(hierarchy)
    return Layout(tuple((hierarchy, hierarchy.directory(path)) for hierarchy in chosen))


def recorded(facts: HostFacts, directories: Sequence[str]) -> Layout:
    """The layout of directories that a container's record names."""
    found = []
    for path in directories:
        best = max(
            (h for h in facts.hierarchies if path == h.mount or path.startswith(h.mount.rstrip("/") + "/")),
            key=lambda h: len(h.mount),
            default=None,
        )
        if best is None:
            raise Unsupported(f"cgroup {path}: its hierarchy is no longer mounted")
        found.append((best, path))
    return Layout(tuple(found))

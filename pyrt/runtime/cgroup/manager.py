"""The life of a container's cgroups after its start: look, freeze, signal, change limits, remove."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from pyrt.base.errors import Conflict, InvalidRequest, PyrtError, Unsupported, errno_words
from pyrt.model import oci
from pyrt.runtime.cgroup.files import flat, number, read, write
from pyrt.runtime.cgroup.layout import Layout, place, recorded
from pyrt.runtime.cgroup.settings import Setting, settings
from pyrt.runtime.host import HostFacts

if TYPE_CHECKING:
    from pyrt.runtime.cgroup.stats import Limits, Stats

__all__ = ["Manager"]

_SIGKILL = 9
_PATIENCE = 10.0
"""Seconds until something that the kernel does by itself (freezing, the end of killed processes) counts as failed."""


class Manager:
    """The cgroups of one container. Methods raise PyrtError with one line; what is gone already is no error."""

    def __init__(self, facts: HostFacts, layout: Layout) -> None:
        self.facts = facts
        self.layout = layout

    @classmethod
    def of(cls, facts: HostFacts, path: str) -> Manager:
        """By cgroup path, as `container_path` and CompileOptions.cgroup_path have it."""
        return cls(facts, place(facts, path) if path else Layout())

    @classmethod
    def at(cls, facts: HostFacts, directories: Sequence[str]) -> Manager:
        """By the directories that `Layout.directories` gave when the container was made."""
        return cls(facts, recorded(facts, directories))

    @property
    def directories(self) -> tuple[str, ...]:
        """Where the cgroups are, the journal's first."""
        return self.layout.directories

    # -- looking --

    def pids(self) -> tuple[int, ...]:
        """All processes of the container and of cgroups that it made itself, host view."""
        found: dict[int, None] = {}
        for path in self.directories[:1]:
            for folder in _walk(path):
                for word in (read(f"{folder}/cgroup.procs") or "").split():
                    found[int(word)] = None
        return tuple(pid for pid in found if pid > 0)

    def stats(self) -> Stats:
        """What it uses now."""
        from pyrt.runtime.cgroup.stats import read_stats

        return read_stats(self.layout)

    def limits(self) -> Limits:
        """What it is limited to, as the kernel has it."""
        from pyrt.runtime.cgroup.stats import read_limits

        return read_limits(self.layout)

    def oom_kills(self) -> int:
        """How many of its processes the kernel killed for want of memory."""
        return self.stats().memory.oom_kills

    # -- freezing --

    def _freezer(self) -> tuple[str, bool] | None:
        """(directory, v2)"""
        if self.layout.v2 and os.path.exists(f"{self.layout.v2}/cgroup.freeze"):
            return self.layout.v2, True
        found = self.layout.controller("freezer")
        return (found[0], False) if found and not found[1] else None

    def frozen(self) -> bool:
        """Whether it is frozen."""
        found = self._freezer()
        if found is None:
            return False
        path, v2 = found
        if v2:
            return flat(f"{path}/cgroup.events").get("frozen") == 1
        return (read(f"{path}/freezer.state") or "").strip() in ("FROZEN", "FREEZING")

    def freeze(self) -> None:
        """Stops all its processes; returns when they stand still."""
        self._set_frozen(True)

    def thaw(self) -> None:
        """Lets them go on."""
        self._set_frozen(False)

    def _set_frozen(self, wanted: bool) -> None:
        found = self._freezer()
        if found is None:
            raise Unsupported("pausing needs the cgroup freezer, which this container does not have")
        path, v2 = found
        file = f"{path}/{'cgroup.freeze' if v2 else 'freezer.state'}"
        value = ("1" if wanted else "0") if v2 else ("FROZEN" if wanted else "THAWED")
        deadline = time.monotonic() + _PATIENCE
        pause = 0.0005
        while True:
            try:
                write(file, value)
            except OSError as error:
                raise PyrtError(f"write {file} = {value}: {errno_words(error.errno or 0)}") from None
            if self._is_settled(path, v2, wanted):
                return
            if time.monotonic() > deadline:
                if wanted:  # half frozen is worse than running
                    write(file, "0" if v2 else "THAWED")
                raise PyrtError(
                    f"cgroup {path}: the kernel could not {'freeze' if wanted else 'thaw'} all processes within {_PATIENCE:.0f} s"
                )
            time.sleep(pause)
            pause = min(pause * 2, 0.02)

    @staticmethod
    def _is_settled(path: str, v2: bool, wanted: bool) -> bool:
        if v2:
            return flat(f"{path}/cgroup.events").get("frozen") == int(wanted)
        return (read(f"{path}/freezer.state") or "").strip() == ("FROZEN" if wanted else "THAWED")

    # -- signals --

    def signal(self, number_: int) -> None:
        """Sends a signal to every process. SIGKILL ends even what is being forked meanwhile; frozen ones are thawed for it."""
        if number_ == _SIGKILL:
            self.kill()
            return
        for pid in self.pids():
            _send(pid, number_)

    def kill(self) -> None:
        """SIGKILL to all, at once where the kernel can (cgroup.kill); returns when none is left."""
        deadline = time.monotonic() + _PATIENCE
        pause = 0.0005
        while True:
            left = self._kill_once()
            if not left:
                return
            if time.monotonic() > deadline:
                raise PyrtError(
                    f"cgroup {self.directories[0]}: processes {', '.join(map(str, left[:8]))} do not end although they were killed"
                )
            time.sleep(pause)
            pause = min(pause * 2, 0.02)

    def _kill_once(self) -> tuple[int, ...]:
        if self.layout.v2:
            try:
                write(f"{self.layout.v2}/cgroup.kill", "1")
            except OSError:
                pass
        left = self.pids()
        for pid in left:
            _send(pid, _SIGKILL)
        if left and self.frozen():
            self.thaw()
        return left

    # -- the end --

    def remove(self) -> None:
        """Removes all directories with those below them; the journal's last. Raises Conflict when processes live there."""
        for path in reversed(self.directories):
            _remove(path)

    def exists(self) -> bool:
        """Whether the journal's directory is still there."""
        return bool(self.directories) and os.path.isdir(self.directories[0])

    # -- new limits --

    def update(self, resources: oci.LinuxResources, why: Callable[[str], str] = str) -> None:
        """Changes limits of the running container. What is not in ``resources`` stays. Raises Unsupported, InvalidSpec,
        Conflict (a memory limit below what is in use, with checkBeforeUpdate) or PyrtError; already changed limits are then
        put back."""
        if resources.memory is not None:
            self._check_memory(resources.memory)
        wanted = settings(self._completed(resources), self.facts, why)
        undo: list[tuple[str, str]] = []
        try:
            for setting in _update_order(wanted, self._current_memory()):
                self._apply(setting, undo)
        except PyrtError:
            for path, old in reversed(undo):
                try:
                    write(path, old)
                except OSError:
                    continue
            raise

    def _path_of(self, setting: Setting) -> str:
        found = self.layout.controller(setting.controller) if setting.controller else None
        directory = found[0] if found else self.layout.v2
        if not directory:
            raise Unsupported(f"{setting.why}: this container has no cgroup of the controller {setting.controller!r}")
        return f"{directory}/{setting.file}"

    def _apply(self, setting: Setting, undo: list[tuple[str, str]]) -> None:
        path = self._path_of(setting)
        old = read(path)
        try:
            write(path, setting.value)
        except OSError as error:
            if setting.optional:
                return
            hint = {
                errno.EBUSY: ": more than that is in use",
                errno.ENOENT: ": this kernel has no such limit",
                errno.EINVAL: ": the kernel does not take this value beside the limits that are there",
            }.get(error.errno or 0, "")
            raise PyrtError(f"{setting.why}: write {path} = {setting.value}: {errno_words(error.errno or 0)}{hint}") from None
        if old is not None and "\n" not in old.strip():
            undo.append((path, old.strip()))

    def _check_memory(self, memory: oci.LinuxMemory) -> None:
        if not memory.check_before_update or not memory.limit or memory.limit < 0:
            return
        usage = self.stats().memory.usage
        if usage is not None and usage > memory.limit:
            raise Conflict(f"linux.resources.memory.limit: {usage} bytes are in use, more than {memory.limit}")

    def _current_memory(self) -> int | None:
        """The memory+swap limit of v1, on which the order of writing depends."""
        found = self.layout.controller("memory")
        if found is None or found[1]:
            return None
        return number(f"{found[0]}/memory.memsw.limit_in_bytes")

    def _completed(self, resources: oci.LinuxResources) -> oci.LinuxResources:
        """Half a limit of v2 (only the quota, only memory+swap) is completed with the half that is set."""
        import msgspec

        now = self.limits()
        cpu, memory = resources.cpu, resources.memory
        found = self.layout.controller("cpu")
        if cpu is not None and found and found[1]:
            if cpu.quota and not cpu.period and now.cpu_period:
                cpu = msgspec.structs.replace(cpu, period=now.cpu_period)
            elif cpu.period and not cpu.quota and now.cpu_quota:
                cpu = msgspec.structs.replace(cpu, quota=now.cpu_quota)
        found = self.layout.controller("memory")
        if memory is not None and found and found[1] and memory.swap and not memory.limit:
            if now.memory is None and memory.swap > 0:
                raise InvalidRequest("a limit of memory plus swap needs a memory limit")
            memory = msgspec.structs.replace(memory, limit=now.memory or -1)
        if cpu is resources.cpu and memory is resources.memory:
            return resources
        return msgspec.structs.replace(resources, cpu=cpu, memory=memory)


def _update_order(wanted: list[Setting], memsw: int | None) -> Iterator[Setting]:
    """v1 refuses memory > memory+swap at every moment: when growing, the sum goes first."""
    limit = next((s for s in wanted if s.file == "memory.limit_in_bytes"), None)
    swap = next((s for s in wanted if s.file == "memory.memsw.limit_in_bytes"), None)
    swap_first = limit is not None and swap is not None and memsw is not None and (swap.value == "-1" or int(swap.value) > memsw)
    for setting in wanted:
        if swap_first and setting is limit and swap is not None:
            yield swap
        if not (swap_first and setting is swap):
            yield setting


def _send(pid: int, number_: int) -> None:
    try:
        os.kill(pid, number_)
    except ProcessLookupError:
        pass
    except PermissionError:
        raise PyrtError(f"process {pid}: this user may not send it signals") from None


def _walk(path: str) -> Iterator[str]:
    """The directory and all below it, parents first; nothing when it is not there."""
    yield path
    try:
        with os.scandir(path) as entries:
            folders = sorted(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return
    for folder in folders:
        yield from _walk(folder)


def _remove(path: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    pause = 0.0005
    while True:
        busy = False
        for folder in reversed(list(_walk(path))):
            try:
                os.rmdir(folder)
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno not in (errno.EBUSY, errno.ENOTEMPTY, errno.EINTR):
                    raise PyrtError(f"remove cgroup {folder}: {errno_words(error.errno or 0)}") from None
                busy = True
        if not busy:
            return
        if time.monotonic() > deadline:
            raise Conflict(f"cgroup {path} cannot be removed: processes live in it")
        time.sleep(pause)
        pause = min(pause * 2, 0.02)

"""A container's cgroups after its start: who is inside, freezing, killing, other limits, removal."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterator

from pyrt.base.errors import PyrtError, Unsupported, errno_words
from pyrt.model import oci
from pyrt.runtime.cgroup import files
from pyrt.runtime.cgroup.layout import Layout, place
from pyrt.runtime.cgroup.settings import Setting, settings
from pyrt.runtime.cgroup.stats import Stats, read_stats
from pyrt.runtime.host import HostFacts

__all__ = ["Manager"]

_PATIENCE = 10.0  # seconds for processes to vanish, or to freeze


class Manager:
    """The cgroups of one container, in every hierarchy of this machine."""

    def __init__(self, facts: HostFacts, path: str) -> None:
        self.facts = facts
        self.path = path
        self.layout: Layout = place(facts, path) if path else Layout()

    # -- who is inside -----------------------------------------------------------------------------------------------

    def pids(self) -> list[int]:
        """All processes inside, those of cgroups below included, by their pids as seen from here; sorted."""
        found: set[int] = set()
        for _, directory in self.layout.entries:
            if os.path.isdir(directory):
                found.update(_pids_below(directory))
        return sorted(found)

    def exists(self) -> bool:
        """Whether any hierarchy has it."""
        return any(os.path.isdir(directory) for _, directory in self.layout.entries)

    # -- freezing ----------------------------------------------------------------------------------------------------

    def freeze(self) -> None:
        """Stops all processes and returns once they have stopped. Raises Unsupported without a freezer."""
        self._set_frozen(True)

    def thaw(self) -> None:
        """Lets them go on. Raises Unsupported without a freezer."""
        self._set_frozen(False)

    def frozen(self) -> bool:
        """Whether it was told to stop (by itself, not by a cgroup above)."""
        return any((files.read(file) or "").strip() in (on, "FREEZING") for file, on, _ in self._freezers())

    def _freezers(self) -> Iterator[tuple[str, str, str]]:
        """(file, value that freezes, value that thaws). One place is enough: v1's where there is one, since v2's beside it may lack
        the processes."""
        for hierarchy, directory in self.layout.entries:
            if not hierarchy.v2 and "freezer" in hierarchy.controllers and os.path.exists(f"{directory}/freezer.state"):
                yield f"{directory}/freezer.state", "FROZEN", "THAWED"
                return
        if self.layout.v2 and os.path.exists(f"{self.layout.v2}/cgroup.freeze"):
            yield f"{self.layout.v2}/cgroup.freeze", "1", "0"

    def _set_frozen(self, wanted: bool) -> None:
        for file, on, off in self._freezers():
            until = time.monotonic() + _PATIENCE
            pause = 0.0005
            while True:
                _put(file, on if wanted else off, "pause" if wanted else "resume")
                if self._has_settled(file, on, wanted):
                    return
                if time.monotonic() > until:
                    _put(file, off, "resume")
                    raise PyrtError(f"cgroup {self.path}: its processes do not freeze; they were let go again")
                time.sleep(pause)
                pause = min(pause * 2, 0.02)
        raise Unsupported(f"cgroup {self.path}: this machine has no freezer (neither cgroup v2 nor the v1 controller)")

    def _has_settled(self, file: str, on: str, wanted: bool) -> bool:
        if on == "1":
            events = files.table(os.path.dirname(file) + "/cgroup.events")
            return not wanted or events.get("frozen", 0) == 1 or events.get("populated", 0) == 0
        # v1 answers FREEZING while a process is on its way, and writing FROZEN once more tries again
        return (files.read(file) or "").strip() == ("FROZEN" if wanted else "THAWED")

    # -- the end -----------------------------------------------------------------------------------------------------

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Sends a signal to every process inside. SIGKILL also reaches those that fork meanwhile, and the frozen."""
        if number == signal.SIGKILL and self.layout.v2 and os.path.exists(f"{self.layout.v2}/cgroup.kill"):
            _put(f"{self.layout.v2}/cgroup.kill", "1", "kill")
            if self.facts.mode == "v2":
                return
        seen: set[int] = set()
        for _ in range(64 if number == signal.SIGKILL else 1):
            fresh = [pid for pid in self.pids() if pid not in seen]
            for pid in fresh:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass
                except OSError as error:
                    raise PyrtError(f"cannot signal process {pid}: {errno_words(error.errno or 0)}") from None
            seen.update(fresh)
            if not fresh:
                break
        if number == signal.SIGKILL and self.frozen():
            self.thaw()

    def remove(self) -> None:
        """Kills what is inside and removes the cgroup in every hierarchy, those below it first; the journal's last.

        Raises PyrtError when processes do not vanish within ten seconds.
        """
        until = time.monotonic() + _PATIENCE
        pause = 0.0005
        left = [directory for _, directory in reversed(self.layout.entries)]
        while True:
            left = [directory for directory in left if not files.remove_tree(directory)]
            if not left:
                return
            if time.monotonic() > until:
                raise PyrtError(f"cgroup {left[0]}: cannot be removed: processes {self.pids()} are still in it")
            self.kill(signal.SIGKILL)
            time.sleep(pause)
            pause = min(pause * 2, 0.05)

    # -- limits ------------------------------------------------------------------------------------------------------

    def update(self, resources: oci.LinuxResources) -> None:
        """Applies limits to the running container. Raises Unsupported or InvalidSpec before anything is written, PyrtError
        when the kernel refuses one (those before it stay)."""
        for setting in _raised_first(settings(resources, self.facts), self):
            self._apply(setting)

    def _apply(self, setting: Setting) -> None:
        found = self.layout.controller(setting.controller) if setting.controller else (self.layout.v2, True)
        if found is None or not found[0]:
            raise Unsupported(f"{setting.why}: the container has no cgroup with the controller {setting.controller!r}")
        path = f"{found[0]}/{setting.file}"
        try:
            files.write(path, setting.value)
        except OSError as error:
            if setting.optional and error.errno in (errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM, errno.EACCES):
                return
            hint = ": more is in use than that" if error.errno == errno.EBUSY else ""
            raise PyrtError(f"{setting.why}: write {setting.value} to {path}: {errno_words(error.errno or 0)}{hint}") from None

    def limits(self) -> dict[str, str]:
        """The limits in force, read back: name of the file -> its content, for the files that `update` writes."""
        names = (
            ("memory", ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max", "memory.swap.max", "memory.low")),
            ("cpu", ("cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.max", "cpu.weight")),
            ("cpuset", ("cpuset.cpus", "cpuset.mems")),
            ("pids", ("pids.max",)),
        )
        found: dict[str, str] = {}
        for controller, wanted in names:
            place_ = self.layout.controller(controller)
            for name in wanted if place_ else ():
                text = files.read(f"{place_[0] if place_ else ''}/{name}")
                if text is not None:
                    found[name] = text.strip()
        return found

    def stats(self) -> Stats:
        """What was and is used. Numbers that this machine does not have are zero."""
        return read_stats(self.layout, len(self.pids()))


def _raised_first(found: list[Setting], manager: Manager) -> list[Setting]:
    """v1 refuses a memory limit above that of memory and swap: the greater of the two goes first when both grow."""
    by_file = {setting.file: index for index, setting in enumerate(found)}
    limit, swap = by_file.get("memory.limit_in_bytes"), by_file.get("memory.memsw.limit_in_bytes")
    memory = manager.layout.controller("memory")
    if limit is None or swap is None or memory is None:
        return found
    now = files.number(f"{memory[0]}/memory.memsw.limit_in_bytes", -1)
    value = found[limit].value
    grows = value == "-1" or (value.isdigit() and now >= 0 and int(value) > now)
    first, second = (swap, limit) if grows else (limit, swap)
    rest = [setting for index, setting in enumerate(found) if index not in (limit, swap)]
    return [found[first], found[second], *rest]


def _put(path: str, value: str, what: str) -> None:
    try:
        files.write(path, value)
    except FileNotFoundError:
        raise PyrtError(f"cannot {what}: {path}: its cgroup is gone") from None
    except OSError as error:
        if error.errno == errno.ENODEV:
            raise PyrtError(f"cannot {what}: {path}: its cgroup is gone") from None
        raise PyrtError(f"cannot {what}: write {value} to {path}: {errno_words(error.errno or 0)}") from None


def _pids_below(directory: str) -> Iterator[int]:
    for folder, below, _ in os.walk(directory):
        for words in files.lines(f"{folder}/cgroup.procs"):
            yield from (int(word) for word in words)
        below.sort()

"""A container that exists: its status from the kernel, signals, freezing, its end.

Error texts are runc's where containerd, Docker, Podman and Kubernetes look for them: "container does not exist",
"container not running", "container not paused", "container with given ID already exists".
"""

from __future__ import annotations

import os
import signal
import time

from pyrt.base.errors import Conflict, PyrtError, errno_words
from pyrt.model import oci
from pyrt.runtime.cgroup.manager import Manager
from pyrt.runtime.host import host_facts
from pyrt.runtime.oci import procinfo
from pyrt.runtime.oci.hooks import run_hooks
from pyrt.runtime.oci.hostmounts import detach_new
from pyrt.runtime.oci.store import Record, Store

__all__ = ["CREATED", "PAUSED", "RUNNING", "STOPPED", "Container", "cgroup_of", "end_leftover"]

CREATED, RUNNING, PAUSED, STOPPED = "created", "running", "paused", "stopped"

_PATIENCE = 10.0  # seconds that a killed init has to vanish


class Container:
    """One container, as its record and the kernel show it at the moment of each call."""

    def __init__(self, store: Store, record: Record) -> None:
        self.store = store
        self.record = record
        self._cgroup: Manager | None = None

    @classmethod
    def load(cls, store: Store, container_id: str) -> Container:
        """Raises NotFound."""
        return cls(store, store.load(container_id))

    @property
    def id(self) -> str:
        """The container's id."""
        return self.record.id

    @property
    def cgroup(self) -> Manager:
        """Its cgroups in all hierarchies."""
        if self._cgroup is None:
            self._cgroup = cgroup_of(self.record)
        return self._cgroup

    def init_is_alive(self) -> bool:
        """Does the very process that was created still run? A later process with the same pid is not it."""
        record = self.record
        if record.boot != procinfo.boot_id():
            return False
        seen = procinfo.stat(record.pid)
        return seen is not None and seen.start == record.pid_start and seen.state not in ("Z", "X", "x")

    def status(self) -> str:
        """created, running, paused or stopped, found out now."""
        if not self.init_is_alive():
            return STOPPED
        if self.record.cgroups and self.cgroup.frozen():
            return PAUSED
        gate = self.store.gate(self.id)
        if os.path.exists(gate) and procinfo.is_waiting_at_gate(self.record.pid):
            return CREATED
        return RUNNING

    def state(self, status: str | None = None) -> oci.State:
        """The specification's state document."""
        status = status or self.status()
        record = self.record
        return oci.State(
            oci_version=record.oci_version,
            id=record.id,
            status=status,
            pid=0 if status == STOPPED else record.pid,
            bundle=record.bundle,
            annotations=record.annotations,
        )

    # -- signals -------------------------------------------------------------------------------------------------------

    def kill(self, number: int, everyone: bool = False) -> None:
        """Sends a signal to init, or to every process of the cgroup. Raises Conflict when init does not run any
        more.
        """
        if everyone and self.record.cgroups:
            self.cgroup.signal(number)
            return
        if not self._signal(number):
            raise Conflict("container not running")
        if number == signal.SIGKILL:
            if not self._has_own_pids() and not self.record.shared_cgroup:  # no kernel ends the others with init
                self.cgroup.kill()
            self._thaw()

    def _signal(self, number: int) -> bool:
        """False when init has gone. The pidfd makes sure that nobody else can be hit."""
        try:
            fd = os.pidfd_open(self.record.pid)
        except ProcessLookupError:
            return False
        except OSError as error:
            raise PyrtError(f"unable to signal init: {errno_words(error.errno or 0)}") from None
        try:
            if not self.init_is_alive():
                return False
            signal.pidfd_send_signal(fd, number)
        except ProcessLookupError:
            return False
        except OSError as error:
            raise PyrtError(f"unable to signal init: {errno_words(error.errno or 0)}") from None
        finally:
            os.close(fd)
        return True

    def _has_own_pids(self) -> bool:
        linux = self.record.config.linux
        return linux is not None and any(ns.type == "pid" and not ns.path for ns in linux.namespaces)

    def _thaw(self) -> None:
        """A frozen process does not die: let it, once the signal waits for it."""
        if self.record.cgroups and self.cgroup.frozen():
            self.cgroup.thaw()

    # -- freezing ------------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Freezes all processes. Raises Conflict unless it is running or created."""
        if self.status() not in (RUNNING, CREATED):
            raise Conflict("container not running")
        self.cgroup.freeze()

    def resume(self) -> None:
        """Lets them go on. Raises Conflict unless it is paused."""
        if self.status() != PAUSED:
            raise Conflict("container not paused")
        self.cgroup.thaw()

    # -- the end -------------------------------------------------------------------------------------------------------

    def delete(self, force: bool = False) -> list[str]:
        """Removes all that there is of it; a created one (or, with `force`, a running one) is killed before.

        Gives the warnings of poststop hooks. Raises Conflict when it runs."""
        status = self.status()
        if status in (RUNNING, PAUSED) and not force:
            raise Conflict(f"cannot delete container {self.id} that is not stopped: {status}")
        if status != STOPPED:
            self.end_now()
            self._wait_for_end()
        return self.destroy()

    def end_now(self) -> None:
        """SIGKILL for init, if it still lives: also frees a `start` that waits for it."""
        if self._signal(signal.SIGKILL):
            self._thaw()

    def _wait_for_end(self) -> None:
        until = time.monotonic() + _PATIENCE
        pause = 0.001
        while self.init_is_alive():
            if time.monotonic() > until:
                raise PyrtError("container init still running")
            time.sleep(pause)
            pause = min(pause * 2, 0.05)

    def destroy(self) -> list[str]:
        """Removes cgroups and state of a container that has ended, then runs the poststop hooks; gives their
        warnings.
        """
        end_leftover(self.record)
        self.store.remove(self.id)
        hooks = self.record.config.hooks
        return run_hooks(hooks.poststop, self.state(STOPPED), "poststop") if hooks else []


def end_leftover(record: Record) -> None:
    """Removes what is outside of its directory: cgroups with or without processes, mounts in the host's namespace."""
    _remove_cgroup(record)
    if record.host_mounts is not None:
        detach_new(record.rootfs, record.host_mounts)


def _remove_cgroup(record: Record) -> None:
    """Ends what still lives in it: without a pid namespace of its own the end of init ends nobody else."""
    if record.cgroups and not record.shared_cgroup:
        manager = cgroup_of(record)
        manager.kill()
        manager.remove()


def cgroup_of(record: Record) -> Manager:
    """The cgroups that the record names: a relative cgroupsPath means something else wherever a later command runs."""
    return Manager.at(host_facts(), record.cgroups)

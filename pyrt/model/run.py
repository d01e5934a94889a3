"""What to run, and what came of it: the request that every door builds, and the result that every door shows."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

__all__ = ["Completed", "Device", "Mount", "RunRequest", "Tmpfs", "TraceOp", "Ulimit", "Usage"]


class Mount(Struct, frozen=True):
    """One `-v` or `--mount` of type bind or tmpfs.

    ``source`` is an absolute host path (bind) or "" (tmpfs). ``recursive`` takes the mounts below the source along;
    ``readonly_recursive`` makes those read-only too. ``create_source`` makes a missing source directory, as `-v` does.
    ``size`` (bytes, 0: half of the memory) and ``mode`` (permission bits) are for tmpfs. ``options`` are further mount
    options as mount(8) names them (``noexec``, ``nosuid``).
    """

    target: str
    source: str = ""
    type: str = "bind"
    readonly: bool = False
    propagation: str = "rprivate"
    recursive: bool = True
    readonly_recursive: bool = False
    create_source: bool = False
    size: int = 0
    mode: int | None = None
    options: tuple[str, ...] = ()
    flag: str = ""


class Tmpfs(Struct, frozen=True):
    """One `--tmpfs TARGET[:options]`; options as mount(8) has them for tmpfs."""

    target: str
    options: tuple[str, ...] = ()


class Device(Struct, frozen=True):
    """One `--device SOURCE[:TARGET][:rwm]`. A source that is a directory stands for all device nodes below it."""

    source: str
    target: str
    access: str = "rwm"


class Ulimit(Struct, frozen=True):
    """One resource limit. ``name`` as docker has it (``nofile``); 2**64-1 is unlimited."""

    name: str
    soft: int
    hard: int


class RunRequest(Struct, frozen=True):
    """Everything that `pyrt run` can be told. Hashable, so that equal requests share one compiled plan.

    ``image`` is an image's name, or "" with ``rootfs`` the path of a directory that is used as one. ``args`` is the
    command. ``env`` are ``KEY=VALUE`` strings, later ones win. ``memory``, ``memory_swap``, ``memory_reservation``
    and ``shm_size`` are bytes (``memory_swap`` -1: no limit); ``nano_cpus`` billionths of a CPU; None or 0 leave a
    limit out. ``entrypoint`` None is the image's own, () is none. ``sysctls`` and ``labels`` are pairs.
    """

    image: str
    args: tuple[str, ...] = ()
    rootfs: str | None = None
    env: tuple[str, ...] = ()
    workdir: str = ""
    user: str = ""
    group_add: tuple[str, ...] = ()
    hostname: str = ""
    domainname: str = ""
    name: str = ""
    interactive: bool = False
    tty: bool = False
    remove: bool = True
    memory: int | None = None
    memory_swap: int | None = None
    memory_reservation: int | None = None
    nano_cpus: int = 0
    cpu_shares: int | None = None
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int | None = None
    oom_score_adj: int | None = None
    ulimits: tuple[Ulimit, ...] = ()
    read_only: bool = False
    tmpfs: tuple[Tmpfs, ...] = ()
    mounts: tuple[Mount, ...] = ()
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    privileged: bool = False
    security_opt: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()
    shm_size: int | None = None
    init: bool = False
    entrypoint: tuple[str, ...] | None = None
    labels: tuple[tuple[str, str], ...] = ()
    stop_signal: str = ""
    network: str = "none"
    pid: str = "private"
    ipc: str = "private"
    uts: str = "private"
    userns: str = ""
    cgroupns: str = "private"
    cidfile: str = ""


class Usage(Struct, frozen=True):
    """What a run cost. Times in nanoseconds, memory and I/O in bytes; None where the kernel does not say.

    ``setup_ns`` is from the executor's first instruction to the container's exec, ``wall_ns`` from there to its
    end, ``cleanup_ns`` until all was unmade.
    """

    cpu_ns: int | None = None
    cpu_user_ns: int | None = None
    cpu_system_ns: int | None = None
    memory_peak: int | None = None
    pids_peak: int | None = None
    io_read: int | None = None
    io_write: int | None = None
    oom_kills: int = 0
    setup_ns: int = 0
    wall_ns: int = 0
    cleanup_ns: int = 0


class TraceOp(Struct, frozen=True):
    """One op of the plan as it was executed. Times are nanoseconds of CLOCK_MONOTONIC; 0 when it did not run."""

    index: int
    side: str
    words: str
    why: str
    begin_ns: int
    end_ns: int
    error: int = 0

    @property
    def duration_ns(self) -> int:
        """How long the op took."""
        return self.end_ns - self.begin_ns


class Completed(Struct, frozen=True):
    """A container that has ended; shaped like `subprocess.CompletedProcess`.

    ``returncode`` is what every door of pyrt reports: the command's own code, or 128+n when signal n ended it
    (``signal`` is n then, else 0). ``stdout`` and ``stderr`` are None when they were not captured.
    """

    args: tuple[str, ...]
    returncode: int
    stdout: Any = None
    stderr: Any = None
    signal: int = 0
    oom_killed: bool = False
    timed_out: bool = False
    usage: Usage = Usage()
    trace: tuple[TraceOp, ...] | None = None
    id: str = ""

    def check_returncode(self) -> None:
        """Raises `pyrt.ContainerFailed` unless returncode is 0."""
        if self.returncode:
            from pyrt.base.errors import ContainerFailed

            raise ContainerFailed(self)

"""What the compiler has to know beside the spec and the machine."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from pyrt.runtime.overlay_root import OverlayRoot

__all__ = ["CompileOptions", "JoinTarget"]


class CompileOptions(Struct, frozen=True):
    """How a container is to be made.

    ``id``: the container's. ``bundle``: absolute path of its bundle. ``run_dir``: pyrt's run directory, for the overlay's
    mount point. ``cgroup_path``: where its cgroup is, instead of the spec's cgroupsPath (absolute: from the top of each
    hierarchy; else from the caller's own cgroup); "" for no cgroup at all. ``controllers``: "all" hierarchies, or only the
    "needed" ones. ``overlay``: a throw-away root instead of the spec's. ``gate_socket``: path of the socket on which the
    container waits for `start`. ``console_slot``: slot of a connected socket that gets the terminal's master (or
    ``console_socket``, the path of one). ``device_slot``: slot in which the caller may pass the plan's
    device program already loaded (the last of its fds). ``tty_size``: (rows, columns), 0 leaves them. ``preserve_fds`` of the caller's
    slots from ``fd_base_slot`` on become fds 3, 4, …. ``foreground``: the container dies with its executor. ``init``: a
    small init runs as pid 1. ``usage``: what was used is read at the end. ``seccomp_bpf``/``seccomp_flags``: the compiled
    filter. ``origins``: path in the spec -> flag that asked for it, for `explain`.
    """

    id: str
    bundle: str = "/"
    run_dir: str = ""
    cgroup_path: str | None = None
    controllers: str = "all"
    overlay: OverlayRoot | None = None
    gate_socket: str | None = None
    console_slot: int | None = None
    console_socket: str | None = None
    device_slot: int | None = None
    tty_size: tuple[int, int] = (0, 0)
    preserve_fds: int = 0
    fd_base_slot: int = 0
    foreground: bool = False
    init: bool = False
    no_pivot: bool = False
    no_new_keyring: bool = False
    usage: bool = False
    seccomp_bpf: bytes | None = None
    seccomp_flags: int = 0
    origins: Mapping[str, str] = field(default_factory=dict)


class JoinTarget(Struct, frozen=True):
    """A running container that a process is to enter.

    ``pid``: its init. ``namespaces``: the specification's names of those that are not the caller's own ("pid", "mount"…).
    ``cgroups``: host paths of its cgroup directories, v1 ones first. ``userns_owner``: the container has a user namespace
    of its own.
    """

    pid: int
    namespaces: tuple[str, ...]
    cgroups: tuple[str, ...] = ()
    cgroup_v2: str = ""

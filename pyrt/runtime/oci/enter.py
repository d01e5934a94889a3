"""exec: another process in a container that runs."""

from __future__ import annotations

import os
from dataclasses import dataclass

import msgspec

from pyrt import native
from pyrt.base.errors import CommandNotExecutable, CommandNotFound, Conflict, InvalidRequest, PyrtError, errno_words
from pyrt.model import oci
from pyrt.runtime.host import HostFacts, host_facts
from pyrt.runtime.launch import Launch, launch
from pyrt.runtime.oci import procinfo
from pyrt.runtime.oci.container import PAUSED, STOPPED, Container
from pyrt.runtime.oci.start import let_go, not_runnable, seccomp_program, send_pidfd, write_pid_file
from pyrt.runtime.plan.compile import CompileOptions, JoinTarget, compile_exec
from pyrt.runtime.plan.encode import encode
from pyrt.runtime.spec.validate import validate_process

__all__ = ["Changes", "Request", "changed", "enter"]


@dataclass(frozen=True, slots=True)
class Changes:
    """What the command line of `exec` makes of the container's own process. None and () leave things as they are."""

    args: tuple[str, ...]
    tty: bool = False
    cwd: str = ""
    env: tuple[str, ...] = ()
    user: str = ""
    additional_gids: tuple[int, ...] = ()
    apparmor: str = ""
    process_label: str = ""
    no_new_privs: bool | None = None
    caps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """How the process is to be entered; see `pyrt.runtime.oci.start.Request`. `cgroups`: --cgroup arguments."""

    pid_file: str = ""
    console_socket: str = ""
    pidfd_socket: str = ""
    preserve_fds: int = 0
    detach: bool = False
    ignore_paused: bool = False
    cgroups: tuple[str, ...] = ()
    console: int = -1
    tty_size: tuple[int, int] = (0, 0)


def changed(process: oci.Process, changes: Changes) -> oci.Process:
    """`process` with the command line's changes, by runc's rules. Raises InvalidRequest."""
    if not changes.args:
        raise InvalidRequest("exec args cannot be empty")
    fields: dict[str, object] = {
        "args": changes.args,
        "terminal": changes.tty,
        "env": (*process.env, *changes.env),
        "user": _user(process.user, changes),
    }
    if changes.cwd:
        fields["cwd"] = changes.cwd
    if changes.apparmor:
        fields["apparmor_profile"] = changes.apparmor
    if changes.process_label:
        fields["selinux_label"] = changes.process_label
    if changes.no_new_privs is not None:
        fields["no_new_privileges"] = changes.no_new_privs
    if changes.caps:
        fields["capabilities"] = _capabilities(process.capabilities or oci.LinuxCapabilities(), changes.caps)
    return msgspec.structs.replace(process, **fields)


def _user(user: oci.User, changes: Changes) -> oci.User:
    fields: dict[str, object] = {}
    if changes.user:
        uid, colon, gid = changes.user.partition(":")
        if colon:
            fields["gid"] = _id(gid, "gid")
        fields["uid"] = _id(uid, "uid")
    for gid_number in changes.additional_gids:
        if gid_number < 0:
            raise InvalidRequest(f"additional-gids must be a positive number {gid_number}")
    fields["additional_gids"] = (*user.additional_gids, *changes.additional_gids)
    return msgspec.structs.replace(user, **fields)


def _id(text: str, kind: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > 0xFFFFFFFE:
        raise InvalidRequest(f'bad {kind}: "{text}" is not a number of a user or group')
    return int(text)


def _capabilities(sets: oci.LinuxCapabilities, more: tuple[str, ...]) -> oci.LinuxCapabilities:
    """To bounding, effective and permitted; to ambient only where there is an inheritable set, which it needs."""
    return oci.LinuxCapabilities(
        bounding=(*sets.bounding, *more),
        effective=(*sets.effective, *more),
        permitted=(*sets.permitted, *more),
        inheritable=sets.inheritable,
        ambient=(*sets.ambient, *more) if sets.inheritable else sets.ambient,
    )


def enter(container: Container, process: oci.Process, request: Request) -> tuple[Launch, int]:
    """Starts `process` in the container; gives its launch (already let go when detached) and its pid.

    Raises PyrtError; then the process has not started."""
    status = container.status()
    if status == STOPPED:
        raise Conflict("cannot exec in a stopped container")
    if status == PAUSED and not request.ignore_paused:
        raise Conflict("cannot exec in a paused container (use --ignore-paused to override)")
    validate_process(process, "$")
    if request.detach and process.terminal and not request.console_socket:
        raise InvalidRequest("cannot allocate tty if pyrt-oci will detach without setting console socket")
    if (not request.detach or not process.terminal) and request.console_socket:
        raise InvalidRequest("cannot use console socket if pyrt-oci will not detach or allocate tty")
    facts = host_facts()
    spec = container.record.config
    bpf, flags = seccomp_program(spec.linux or oci.Linux())
    options = CompileOptions(
        id=container.id,
        bundle=container.record.bundle,
        console_socket=request.console_socket or None,
        console_slot=request.preserve_fds if request.console >= 0 else None,
        tty_size=request.tty_size,
        preserve_fds=request.preserve_fds,
        foreground=not request.detach,
        seccomp_bpf=bpf,
        seccomp_flags=flags,
    )
    target = _target(container, facts, request.cgroups)
    if not container.init_is_alive():  # while we looked, so that what we saw may be somebody else's
        raise Conflict("cannot exec in a stopped container")
    plan = compile_exec(process, spec, target, facts, options)
    fds = [*range(3, 3 + request.preserve_fds)]
    if request.console >= 0:
        fds.append(request.console)
    run_flags = native.RUN_DETACH if request.detach else native.RUN_SIGPROXY | native.RUN_NOTIFY
    try:
        launched = launch(plan, encode(plan), stdio=(0, 1, 2), fds=fds, flags=run_flags)
    except OSError as error:
        raise PyrtError(f"the executor cannot be started: {errno_words(error.errno or 0)}") from None
    return launched, _started(launched, process, request)


def _started(launched: Launch, process: oci.Process, request: Request) -> int:
    try:
        message = launched.wait()
        if message is None:
            raise PyrtError("the executor says nothing")
        if request.pid_file:
            write_pid_file(request.pid_file, message.pid)
        if request.pidfd_socket:
            send_pidfd(request.pidfd_socket, message.pid)
        if request.detach:
            let_go(launched)
    except (CommandNotFound, CommandNotExecutable) as error:
        raise not_runnable(error, process) from None
    except BaseException:
        if launched.last is None:
            launched.abandon()
        raise
    return message.pid


# -- where to ---------------------------------------------------------------------------------------------------------


def _target(container: Container, facts: HostFacts, asked: tuple[str, ...]) -> JoinTarget:
    pid = container.record.pid
    apart = procinfo.namespaces_apart(pid)
    v1: list[str] = []
    v2 = ""
    below = _sub_cgroups(asked, facts)
    for hierarchy, top in container.cgroup.layout.entries:
        name = "" if hierarchy.v2 else next((c for c in hierarchy.controllers if c in below), None)
        sub = below.get(name, "") if name is not None else ""
        path = os.path.normpath(os.path.join(top, sub))
        if sub and not os.path.isdir(path):
            raise InvalidRequest(f"--cgroup {sub}: open {path}/cgroup.procs: no such file or directory")
        if not os.path.isdir(path):
            continue
        if hierarchy.v2:
            v2 = path if sub else _v2_entrance(hierarchy.mount, path, pid)
        else:
            v1.append(path)
    return JoinTarget(pid=pid, namespaces=apart, cgroups=tuple(v1), cgroup_v2=v2)


def _v2_entrance(mount: str, top: str, pid: int) -> str:
    """A v2 cgroup that hands controllers down takes no processes itself (cgroup-v2.rst, "No Internal Process
    Constraint"): its init has moved to one below, and so do we.
    """
    try:
        with open(f"{top}/cgroup.subtree_control", encoding="ascii") as file:
            if not file.read().strip():
                return top
    except OSError:
        return top
    inner = mount.rstrip("/") + procinfo.cgroup_v2_path(pid)
    return inner if inner.startswith(top + "/") and os.path.isdir(inner) else top


def _sub_cgroups(asked: tuple[str, ...], facts: HostFacts) -> dict[str, str]:
    """--cgroup arguments as controller -> path below the container's; "" is the v2 hierarchy."""
    found: dict[str, str] = {}
    for argument in asked:
        controllers, colon, path = argument.partition(":")
        if not colon:
            if len(asked) != 1:
                raise InvalidRequest(f"invalid --cgroup argument: {argument} (missing <controller>: prefix)")
            if facts.mode != "v2":
                raise InvalidRequest(f"invalid --cgroup argument: {argument} (cgroup v1 needs a <controller>: prefix)")
            controllers, path = "", argument
        if ".." in path.split("/"):
            raise InvalidRequest(f"invalid --cgroup argument: {path} is not a sub cgroup path")
        for controller in controllers.split(","):
            if colon and not controller:
                raise InvalidRequest(f"invalid --cgroup argument: {argument} (empty <controller> prefix)")
            if controller in found:
                raise InvalidRequest(f"invalid --cgroup argument(s): controller {controller} specified multiple times")
            found[controller] = path.strip("/")
    return found

"""create, start and run: from a bundle to a process.

`create` compiles the plan, has it executed up to the gate, saves the state and only then takes the container over
from the executor; killed at any moment before that, the executor unmakes everything, and what is left is a
directory that the next command recognises. `start` opens the gate and waits until the container's program runs.
`run` is one plan without a gate.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from pyrt import native
from pyrt.base.errors import CommandNotExecutable, CommandNotFound, Conflict, InvalidRequest, PyrtError, errno_words
from pyrt.model import oci
from pyrt.native.executor import error_from_bytes
from pyrt.runtime.cgroup.layout import container_path
from pyrt.runtime.cgroup.manager import Manager
from pyrt.runtime.host import host_facts
from pyrt.runtime.launch import Launch, launch
from pyrt.runtime.oci import procinfo
from pyrt.runtime.oci.container import PAUSED, RUNNING, STOPPED, Container, end_leftover
from pyrt.runtime.oci.hooks import run_hooks
from pyrt.runtime.oci.hostmounts import detach_new, mounts_below, shares_the_hosts
from pyrt.runtime.oci.store import Record, Store
from pyrt.runtime.plan.compile import CompileOptions, compile_create
from pyrt.runtime.plan.encode import encode
from pyrt.runtime.spec import decode
from pyrt.runtime.spec.validate import has_selinux, validate

if TYPE_CHECKING:
    from pyrt.runtime.plan.ops import Plan

__all__ = [
    "Request",
    "create",
    "load_bundle",
    "not_runnable",
    "poststart",
    "run",
    "seccomp_program",
    "send_pidfd",
    "start",
    "write_pid_file",
]


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line says beside the bundle. `preserve_fds`: our fds 3, 4, … that go in; `listen_fds` of
    them come from systemd. `console_socket` gets the terminal's master; `console` is an open socket for it instead.
    """

    id: str
    bundle: str
    pid_file: str = ""
    console_socket: str = ""
    pidfd_socket: str = ""
    preserve_fds: int = 0
    listen_fds: int = 0
    no_pivot: bool = False
    no_new_keyring: bool = False
    detach: bool = True
    keep: bool = False
    console: int = -1
    tty_size: tuple[int, int] = (0, 0)


def load_bundle(bundle: str, config: str = "config.json") -> tuple[oci.Spec, tuple[str, ...]]:
    """The bundle's configuration, checked, and the warnings about it. Raises InvalidSpec, Unsupported, NotFound."""
    if not os.path.isdir(bundle):
        raise InvalidRequest(f"{bundle}: no such bundle directory")
    path = os.path.join(bundle, config)
    if not os.path.exists(path):
        raise InvalidRequest(f"JSON specification file {path} not found")
    spec = decode.load(path)
    return spec, validate(spec, bundle)


def create(store: Store, request: Request, spec: oci.Spec) -> Record:
    """Makes a container that waits for `start`. Raises PyrtError; then nothing of it is left."""
    with store.new(request.id) as left, _undone(store, request.id, spec):
        prepared = _prepare(store, request, spec, left, gate=True)
        launched = _launch(prepared, request, native.RUN_DETACH)
        return _take_over(store, request, prepared, launched)


def run(store: Store, request: Request, spec: oci.Spec) -> tuple[Launch, Container]:
    """Starts a container in one go. In the foreground (`detach` false) the caller waits for the launch's end, then
    calls `Container.destroy`. Raises PyrtError; then nothing of it is left.
    """
    with store.new(request.id) as left, _undone(store, request.id, spec):
        prepared = _prepare(store, request, spec, left, gate=False)
        flags = native.RUN_DETACH if request.detach else native.RUN_SIGPROXY | native.RUN_NOTIFY
        launched = _launch(prepared, request, flags)
        record = _take_over(store, request, prepared, launched)
    return launched, Container(store, record)


@contextmanager
def _undone(store: Store, container_id: str, spec: oci.Spec) -> Iterator[None]:
    """When creation fails, the executor has unmade the container; the rest of its end is here: its state, its
    poststop hooks.

    (runtime.md "Lifecycle": what fails in creation goes on with the deletion.)
    """
    try:
        yield
    except BaseException:
        record = store.find(container_id)
        if record is not None and record.host_mounts is not None:
            detach_new(record.rootfs, record.host_mounts)
        store.remove(container_id)
        if record is not None and spec.hooks is not None:
            run_hooks(spec.hooks.poststop, Container(store, record).state(STOPPED), "poststop")
        raise


def start(store: Store, container_id: str) -> list[str]:
    """Lets a created container go; returns when its program runs, with warnings. Raises PyrtError."""
    with store.lock(container_id):
        container = Container.load(store, container_id)
        status = container.status()
        if status == STOPPED:
            raise Conflict("cannot start a container that has stopped")
        if status == RUNNING:
            raise Conflict("cannot start an already running container")
        if status == PAUSED:
            raise Conflict("cannot start a container in the paused state")
        _open_gate(store, container)
        return poststart(container)


def poststart(container: Container) -> list[str]:
    """Runs the poststart hooks of a container that has been started; gives the warnings."""
    hooks = container.record.config.hooks
    return run_hooks(hooks.poststart, container.state(RUNNING), "poststart") if hooks else []


# -- steps -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Prepared:
    record: Record
    plan: Plan
    encoded: bytes


def _prepare(store: Store, request: Request, spec: oci.Spec, left: Record | None, *, gate: bool) -> _Prepared:
    if left is not None:
        end_leftover(left)
    process = spec.process
    if process is None:
        raise PyrtError("process property must not be empty")
    _check_terminal(request, process.terminal)
    _check_preserved(request.preserve_fds)
    if request.listen_fds:
        listen = (f"LISTEN_FDS={request.listen_fds}", "LISTEN_PID=1")
        spec = _with_process(spec, _with_env(process, listen))
    facts = host_facts()
    linux = spec.linux or oci.Linux()
    if linux.mount_label and not has_selinux():  # `validate` has warned of it
        linux = msgspec.structs.replace(linux, mount_label="")
        spec = msgspec.structs.replace(spec, linux=linux)
    cgroups = Manager.of(facts, container_path(facts, linux.cgroups_path, request.id) if facts.cgroup_writable else "")
    shared = _is_shared(cgroups)
    rootfs = os.path.normpath(os.path.join(request.bundle, spec.root.path if spec.root else ""))
    record = Record(
        oci_version=spec.oci_version,
        id=request.id,
        bundle=request.bundle,
        rootfs=rootfs,
        created=_now(),
        config=spec,
        boot=procinfo.boot_id(),
        cgroups=cgroups.directories,
        shared_cgroup=shared,
        host_mounts=mounts_below(rootfs) if shares_the_hosts(spec) else None,
        annotations=spec.annotations,
    )
    bpf, flags = seccomp_program(linux)
    options = CompileOptions(
        id=request.id,
        bundle=request.bundle,
        gate_socket=store.gate(request.id) if gate else None,
        console_socket=request.console_socket or None,
        console_slot=request.preserve_fds if request.console >= 0 else None,
        tty_size=request.tty_size,
        preserve_fds=request.preserve_fds,
        foreground=not request.detach,
        no_pivot=request.no_pivot,
        no_new_keyring=request.no_new_keyring,
        seccomp_bpf=bpf,
        seccomp_flags=flags,
    )
    plan = compile_create(_with_hook_environment(spec), facts, options)
    encoded = encode(plan)
    store.save(record)  # from here on a killed command leaves a trace by which the next one can clean up
    return _Prepared(record, plan, encoded)


def seccomp_program(linux: oci.Linux) -> tuple[bytes | None, int]:
    """The compiled filter and its flags; (None, 0) when there is no policy."""
    policy = linux.seccomp
    if policy is None or (not policy.default_action and not policy.syscalls):
        return None, 0
    from pyrt.native import seccomp

    return seccomp.compile_filter(policy), seccomp.filter_flags(policy)


def _launch(prepared: _Prepared, request: Request, flags: int) -> Launch:
    fds = [*range(3, 3 + request.preserve_fds)]
    if request.console >= 0:
        fds.append(request.console)
    try:
        return launch(prepared.plan, prepared.encoded, stdio=(0, 1, 2), fds=fds, flags=flags)
    except OSError as error:
        raise PyrtError(f"the executor cannot be started: {errno_words(error.errno or 0)}") from None


def _take_over(store: Store, request: Request, prepared: _Prepared, launched: Launch) -> Record:
    """Waits until the container is created or started, saves that, and lets go of the executor."""
    try:
        message = launched.wait()
    except (CommandNotFound, CommandNotExecutable) as error:
        raise not_runnable(error, prepared.record.config.process) from None
    if message is None or message.type == native.MSG_EXITED:
        return prepared.record  # in the foreground, and over before it could be told
    seen = procinfo.stat(message.pid)
    record = _started(prepared.record, message.pid, seen.start if seen else 0)
    try:
        store.save(record)
        if request.pid_file:
            write_pid_file(request.pid_file, message.pid)
        if request.pidfd_socket:
            send_pidfd(request.pidfd_socket, message.pid)
        if request.detach:
            let_go(launched)
    except BaseException:
        if launched.last is None:
            launched.abandon()
        raise
    return record


def let_go(launched: Launch) -> None:
    """Takes the container over from the executor. Raises PyrtError when that one has been killed, and the container
    with it.
    """
    try:
        launched.acknowledge()
    except OSError as error:
        raise PyrtError(f"the executor has gone: {errno_words(error.errno or 0)}") from None


def _started(record: Record, pid: int, start: int) -> Record:
    return msgspec.structs.replace(record, pid=pid, pid_start=start)


def _open_gate(store: Store, container: Container) -> None:
    """Connects through the directory's fd: the whole path may be longer than a socket's address can be."""
    folder = os.open(store.directory(container.id), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    answer = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as gate:
            gate.connect(f"/proc/self/fd/{folder}/{os.path.basename(store.gate(container.id))}")
            gate.sendall(b"\0")
            while chunk := gate.recv(4096):
                answer += chunk
    except OSError as error:
        raise PyrtError(f"cannot start the container: its gate does not open: {errno_words(error.errno or 0)}") from None
    finally:
        os.close(folder)
    try:
        os.unlink(store.gate(container.id))
    except FileNotFoundError:
        pass
    failed = error_from_bytes(answer)
    if failed is not None:
        what = f"{native.op_name(failed.code)}: {errno_words(failed.errno)}"
        raise PyrtError(f"cannot start the container: {what}" + (f" at {failed.detail}" if failed.detail else ""))


# -- small things ----------------------------------------------------------------------------------------------------


def not_runnable(error: CommandNotFound | CommandNotExecutable, process: oci.Process | None) -> PyrtError:
    """The same error in the words by which Docker and Podman choose exit code 127 or 126 (runc's, which are Go's
    exec.Error).
    """
    name = process.args[0] if process is not None and process.args else ""
    if isinstance(error, CommandNotExecutable):
        text = f'exec: "{name}": permission denied'
    elif "/" in name:
        text = f'exec: "{name}": stat {name}: no such file or directory'
    else:
        text = f'exec: "{name}": executable file not found in $PATH'
    return PyrtError(f"unable to start container process: {text} ({error})")


def write_pid_file(path: str, pid: int) -> None:
    """Writes the pid to a file that appears with its content. Raises PyrtError."""
    temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        with open(fd, "w", encoding="ascii") as file:
            file.write(str(pid))
        os.rename(temporary, path)
    except OSError as error:
        raise PyrtError(f"{path}: the pid cannot be written: {errno_words(error.errno or 0)}") from None


def send_pidfd(path: str, pid: int) -> None:
    """Sends a pidfd of the process over the unix socket at `path`. Raises PyrtError."""
    try:
        fd = os.pidfd_open(pid)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
                peer.connect(path)
                socket.send_fds(peer, [b"pidfd"], [fd])
        finally:
            os.close(fd)
    except OSError as error:
        raise PyrtError(f"{path}: the pidfd cannot be sent: {errno_words(error.errno or 0)}") from None


def _check_terminal(request: Request, terminal: bool) -> None:
    if request.detach and terminal and not request.console_socket:
        raise InvalidRequest("cannot allocate tty if pyrt-oci will detach without setting console socket")
    if (not request.detach or not terminal) and request.console_socket:
        raise InvalidRequest("cannot use console socket if pyrt-oci will not detach or allocate tty")


def _check_preserved(count: int) -> None:
    """Our own fds are all close-on-exec; those that the caller has left to us are not."""
    import fcntl

    for index in range(count):
        try:
            given = not fcntl.fcntl(3 + index, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        except OSError:
            given = False
        if not given:
            raise InvalidRequest(f"unable to stat preserved-fd {index} (of {count}): no such file or directory")


def _is_shared(cgroup: Manager) -> bool:
    """Do others live in the cgroup already? Then it is not the container's to empty and to remove."""
    if cgroup.frozen():
        raise Conflict("container's cgroup unexpectedly frozen")
    return bool(cgroup.pids())


def _with_hook_environment(spec: oci.Spec) -> oci.Spec:
    """Hooks without an environment of their own get ours: what all runtimes do, whatever execve's null would be."""
    if spec.hooks is None:
        return spec
    ours = tuple(f"{key}={value}" for key, value in os.environ.items())
    lists = {
        name: tuple(h if h.env is not None else msgspec.structs.replace(h, env=ours) for h in getattr(spec.hooks, name))
        for name in oci.Hooks.__struct_fields__
    }
    return msgspec.structs.replace(spec, hooks=oci.Hooks(**lists))


def _with_env(process: oci.Process, more: tuple[str, ...]) -> oci.Process:
    return msgspec.structs.replace(process, env=(*process.env, *more))


def _with_process(spec: oci.Spec, process: oci.Process) -> oci.Spec:
    return msgspec.structs.replace(spec, process=process)


def _now() -> str:
    """RFC 3339 in UTC with nanoseconds, as Go prints a time."""
    ns = time.time_ns()
    seconds, rest = divmod(ns, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"

"""The embedding API: what `import pyrt` hands out as `pyrt.run` and `pyrt.explain`.

Shaped like `subprocess.run`, with docker run's options as keyword arguments. Values may be written as on the command line
(``memory="64m"``) or as Python has them (``memory=64 << 20``).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from pyrt.base import units
from pyrt.base.errors import ContainerFailed, InvalidRequest
from pyrt.engine import stdio
from pyrt.engine.run import run as run_request
from pyrt.model import flags
from pyrt.model.run import Completed, Device, Mount, RunRequest, Tmpfs, Ulimit

__all__ = ["explain", "request", "run"]

Args = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
Env = Mapping[str, str] | Iterable[str] | None
Pairs = Mapping[str, str] | Iterable[tuple[str, str]] | None
Volumes = Mapping[str, str | Mapping[str, str]] | Iterable[str] | None


def run(
    image: str | None,
    args: Args = (),
    *,
    input: bytes | bytearray | memoryview | str | None = None,
    capture_output: bool = True,
    text: bool = False,
    encoding: str | None = None,
    errors: str | None = None,
    timeout: float | None = None,
    check: bool = False,
    stdin: stdio.Stream = stdio.DEVNULL,
    stdout: stdio.Stream = None,
    stderr: stdio.Stream = None,
    trace: bool = False,
    **options: Any,
) -> Completed:
    """Runs ``args`` in a new container of ``image``, waits for its end, and says how it went.

    ``image`` is "host" for this machine's own file system under a throw-away layer; with ``rootfs=DIR`` it is None. Input and
    output are as in `subprocess.run`: ``stdin`` is empty unless given, output is captured unless ``capture_output`` is
    False or a stream is given, and str when ``text``, ``encoding`` or ``errors`` says so. When ``timeout`` seconds are over
    the container is killed and ``timed_out`` is set. ``trace`` times each op of the plan. ``options`` are those of
    `request`.

    Raises InvalidRequest, NotFound, Unsupported, OpFailed (CommandNotFound, CommandNotExecutable); with ``check``
    ContainerFailed when the container did not return 0. Threads can run containers at the same time.
    """
    req = request(image, args, **options)
    as_text = text or encoding is not None or errors is not None
    codec, how = encoding or "utf-8", errors or "strict"
    data = None if input is None else _input(input, as_text, codec, how)
    if capture_output:
        stdout = stdio.PIPE if stdout is None else stdout
        stderr = stdio.PIPE if stderr is None else stderr
    streams = stdio.connect(data, None if data is not None and stdin == stdio.DEVNULL else stdin, stdout, stderr)
    done = run_request(req, streams, timeout=timeout, trace=trace)
    if as_text:
        done = _decoded(done, codec, how)
    if check and done.returncode:
        raise ContainerFailed(done)
    return done


def explain(image: str | None, args: Args = (), *, json: bool = False, **options: Any) -> str:
    """The plan that `run` would execute, without running it: a numbered table, or JSON. ``options`` as for `request`."""
    from pyrt.engine.explain import explain as explain_request

    return explain_request(request(image, args, **options), json=json)


def request(
    image: str | None,
    args: Args = (),
    *,
    rootfs: str | os.PathLike[str] | None = None,
    env: Env = None,
    cwd: str | os.PathLike[str] | None = None,
    user: str | int | None = None,
    group_add: Iterable[str | int] = (),
    hostname: str = "",
    domainname: str = "",
    name: str = "",
    memory: str | int | None = None,
    memory_swap: str | int | None = None,
    memory_reservation: str | int | None = None,
    cpus: str | float | None = None,
    cpu_shares: int | None = None,
    cpuset_cpus: str = "",
    cpuset_mems: str = "",
    pids_limit: int | None = None,
    oom_score_adj: int | None = None,
    ulimits: Mapping[str, int | tuple[int, int]] | Iterable[str | Ulimit] = (),
    read_only: bool = False,
    tmpfs: Mapping[str, str] | Iterable[str | Tmpfs] = (),
    volumes: Volumes = None,
    mounts: Iterable[str | Mount] = (),
    cap_add: Iterable[str] = (),
    cap_drop: Iterable[str] = (),
    privileged: bool = False,
    security_opt: Iterable[str] = (),
    devices: Iterable[str | Device] = (),
    sysctls: Pairs = None,
    shm_size: str | int | None = None,
    init: bool = False,
    entrypoint: str | Sequence[str] | None = None,
    labels: Pairs = None,
    stop_signal: str = "",
    network: str = "none",
    pid: str = "private",
    ipc: str = "private",
    uts: str = "private",
    userns: str = "",
    cgroupns: str = "private",
) -> RunRequest:
    """Keyword arguments as a RunRequest; each is the flag of `pyrt run` with the same name.

    ``volumes`` are ``"HOST:CONTAINER[:ro]"`` strings, or a mapping from host path to container path or to
    ``{"bind": path, "mode": "ro"}``. ``ulimits`` map a name to one limit or (soft, hard). Raises InvalidRequest.
    """
    if image and rootfs is not None:
        raise InvalidRequest(f"image {image!r} and rootfs cannot be used together")
    return RunRequest(
        image=image or "",
        args=_args(args),
        rootfs=None if rootfs is None else os.fspath(rootfs),
        env=_env(env),
        workdir="" if cwd is None else os.fspath(cwd),
        user="" if user is None else str(user),
        group_add=tuple(map(str, group_add)) if group_add else (),
        hostname=hostname,
        domainname=domainname,
        name=name,
        memory=None if memory is None else units.parse_size(memory),
        memory_swap=_swap(memory_swap),
        memory_reservation=None if memory_reservation is None else units.parse_size(memory_reservation),
        nano_cpus=0 if cpus is None else units.parse_cpus(cpus),
        cpu_shares=cpu_shares,
        cpuset_cpus=cpuset_cpus,
        cpuset_mems=cpuset_mems,
        pids_limit=pids_limit,
        oom_score_adj=oom_score_adj,
        ulimits=_ulimits(ulimits) if ulimits else (),
        read_only=bool(read_only),
        tmpfs=_tmpfs(tmpfs) if tmpfs else (),
        mounts=(*_volumes(volumes), *(m if isinstance(m, Mount) else flags.parse_mount(m) for m in mounts)),
        cap_add=_words(cap_add, "cap_add"),
        cap_drop=_words(cap_drop, "cap_drop"),
        privileged=bool(privileged),
        security_opt=_security(security_opt) if security_opt else (),
        devices=tuple(d if isinstance(d, Device) else flags.parse_device(d) for d in devices),
        sysctls=_pairs(sysctls),
        shm_size=None if shm_size is None else units.parse_size(shm_size),
        init=bool(init),
        entrypoint=_entrypoint(entrypoint),
        labels=_pairs(labels),
        stop_signal=stop_signal,
        network=network,
        pid=pid,
        ipc=ipc,
        uts=uts,
        userns=userns,
        cgroupns=cgroupns,
    )


def _args(args: Args) -> tuple[str, ...]:
    if type(args) is not list and isinstance(args, (str, os.PathLike)):
        return (os.fspath(args),)
    items = tuple(os.fspath(item) for item in args)
    for item in items:
        if not isinstance(item, str):
            raise InvalidRequest(f"args: {item!r} is not a string")
    return items


def _env(env: Env) -> tuple[str, ...]:
    if not env:
        return ()
    if isinstance(env, Mapping):
        return tuple(f"{key}={value}" for key, value in env.items())
    items = (flags.env_item(item, os.environ) for item in env)
    return tuple(item for item in items if item is not None)


def _words(words: Iterable[str], name: str) -> tuple[str, ...]:
    if isinstance(words, str):
        raise InvalidRequest(f"{name}: a list of strings is needed, not {words!r}")
    return tuple(words)


def _swap(value: str | int | None) -> int | None:
    if value is None or value in (-1, "-1"):
        return value if value is None else -1
    return units.parse_size(value)


def _pairs(pairs: Pairs) -> tuple[tuple[str, str], ...]:
    if not pairs:
        return ()
    items = pairs.items() if isinstance(pairs, Mapping) else pairs
    return tuple((str(key), str(value)) for key, value in items)


def _entrypoint(entrypoint: str | Sequence[str] | None) -> tuple[str, ...] | None:
    if entrypoint is None:
        return None
    if isinstance(entrypoint, str):
        return (entrypoint,) if entrypoint else ()
    return tuple(entrypoint)


def _ulimits(ulimits: Mapping[str, int | tuple[int, int]] | Iterable[str | Ulimit]) -> tuple[Ulimit, ...]:
    if not isinstance(ulimits, Mapping):
        return tuple(item if isinstance(item, Ulimit) else flags.ulimit(item) for item in ulimits)
    found = []
    for name, limit in ulimits.items():
        soft, hard = limit if isinstance(limit, tuple) else (limit, limit)
        found.append(flags.ulimit(f"{name}={soft}:{hard}"))
    return tuple(found)


def _tmpfs(tmpfs: Mapping[str, str] | Iterable[str | Tmpfs]) -> tuple[Tmpfs, ...]:
    if isinstance(tmpfs, Mapping):
        return tuple(flags.parse_tmpfs(f"{target}:{options}") for target, options in tmpfs.items())
    return tuple(item if isinstance(item, Tmpfs) else flags.parse_tmpfs(item) for item in _words_or(tmpfs))


def _words_or(items: Iterable[Any]) -> Iterable[Any]:
    return (items,) if isinstance(items, str) else items


def _volumes(volumes: Volumes) -> tuple[Mount, ...]:
    if not volumes:
        return ()
    if not isinstance(volumes, Mapping):
        return tuple(flags.parse_volume(item) for item in _words_or(volumes))
    found = []
    for source, target in volumes.items():
        if isinstance(target, Mapping):
            target = f"{target.get('bind', '')}:{target.get('mode', 'rw')}"
        found.append(flags.parse_volume(f"{source}:{target}"))
    return tuple(found)


def _security(options: Iterable[str]) -> tuple[str, ...]:
    return tuple(flags.security_option(option) for option in _words_or(options))


def _input(data: bytes | bytearray | memoryview | str, as_text: bool, codec: str, how: str) -> bytes:
    if isinstance(data, str):
        if not as_text:
            raise InvalidRequest("input is a str: pass bytes, or text=True")
        return data.encode(codec, how)
    if as_text:
        raise InvalidRequest("input is bytes: pass a str, or leave text=True out")
    return bytes(data)


def _decoded(done: Completed, codec: str, how: str) -> Completed:
    def decode(raw: bytes | None) -> str | None:
        if raw is None:
            return None
        return raw.decode(codec, how).replace("\r\n", "\n").replace("\r", "\n")

    return replace(done, stdout=decode(done.stdout), stderr=decode(done.stderr))

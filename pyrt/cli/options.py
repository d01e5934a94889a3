"""The flags that `run` and `explain` share, and how they become a request."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from pyrt.base import units
from pyrt.base.errors import InvalidRequest
from pyrt.model import flags
from pyrt.model.run import RunRequest

__all__ = ["OPTIONAL_VALUES", "request_from", "run_options"]

F = TypeVar("F", bound=Callable[..., Any])

OPTIONAL_VALUES = {"--trace": "-", "--rootfs": ""}

# name(s), metavar ("": a flag; "+X": can be repeated), help
_OPTIONS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (("--cap-add",), "+list", "Add Linux capabilities"),
    (("--cap-drop",), "+list", "Drop Linux capabilities"),
    (("--cgroupns",), "string", "Cgroup namespace to use (host|private)"),
    (("--cidfile",), "string", "Write the container ID to the file"),
    (("--cpu-shares", "-c"), "int", "CPU shares (relative weight)"),
    (("--cpus",), "decimal", "Number of CPUs"),
    (("--cpuset-cpus",), "string", "CPUs in which to allow execution (0-3, 0,1)"),
    (("--cpuset-mems",), "string", "MEMs in which to allow execution (0-3, 0,1)"),
    (("--device",), "+list", "Add a host device to the container"),
    (("--domainname",), "string", "Container NIS domain name"),
    (("--entrypoint",), "string", "Overwrite the default ENTRYPOINT of the image"),
    (("--env", "-e"), "+list", "Set environment variables"),
    (("--env-file",), "+list", "Read in a file of environment variables"),
    (("--group-add",), "+list", "Add additional groups to join"),
    (("--hostname", "-h"), "string", "Container host name"),
    (("--init",), "", "Run an init inside the container that forwards signals and reaps processes"),
    (("--interactive", "-i"), "", "Keep STDIN open even if not attached"),
    (("--ipc",), "string", "IPC mode to use (private|host|none|shareable)"),
    (("--label", "-l"), "+list", "Set meta data on a container"),
    (("--memory", "-m"), "bytes", "Memory limit"),
    (("--memory-reservation",), "bytes", "Memory soft limit"),
    (("--memory-swap",), "bytes", "Swap limit equal to memory plus swap: '-1' to enable unlimited swap"),
    (("--mount",), "+mount", "Attach a filesystem mount to the container"),
    (("--name",), "string", "Assign a name to the container"),
    (("--network", "--net"), "network", "Connect a container to a network (none|host)"),
    (("--oom-score-adj",), "int", "Tune host's OOM preferences (-1000 to 1000)"),
    (("--pid",), "string", "PID namespace to use (private|host)"),
    (("--pids-limit",), "int", "Tune container pids limit (set -1 for unlimited)"),
    (("--privileged",), "", "Give extended privileges to this container"),
    (("--read-only",), "", "Mount the container's root filesystem as read only"),
    (("--rm",), "", "Automatically remove the container and its file system when it exits (always so)"),
    (("--rootfs",), "dir", "Run a directory instead of an image; its own files stay as they are"),
    (("--security-opt",), "+list", "Security Options"),
    (("--shm-size",), "bytes", "Size of /dev/shm"),
    (("--stop-signal",), "string", "Signal to stop the container"),
    (("--sysctl",), "+map", "Sysctl options"),
    (("--tmpfs",), "+list", "Mount a tmpfs directory"),
    (("--tty", "-t"), "", "Allocate a pseudo-TTY"),
    (("--ulimit",), "+ulimit", "Ulimit options"),
    (("--user", "-u"), "string", "Username or UID (format: <name|uid>[:<group|gid>])"),
    (("--userns",), "string", "User namespace to use (host|private)"),
    (("--uts",), "string", "UTS namespace to use (private|host)"),
    (("--volume", "-v"), "+list", "Bind mount a directory or file"),
    (("--workdir", "-w"), "string", "Working directory inside the container"),
)


def run_options(command: F) -> F:
    """Decorates a click command with all flags of `run`, then the image and the command as arguments."""
    command = click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="IMAGE [COMMAND] [ARG...]")(command)
    for names, kind, text in reversed(_OPTIONS):
        if not kind:
            command = click.option(*names, is_flag=True, help=text)(command)
        else:
            repeat = kind.startswith("+")
            command = click.option(*names, metavar=kind.lstrip("+"), multiple=repeat, help=text)(command)
    return command


def request_from(given: dict[str, Any]) -> RunRequest:
    """The request of a parsed command line. Raises InvalidRequest with docker's wording."""
    rootfs, words = given["rootfs"], tuple(given["command"])
    if rootfs == "":  # `--rootfs --rm DIR CMD`: the first argument is the directory
        rootfs, words = (words[0] if words else ""), words[1:]
    image = ""
    if rootfs is None:
        if not words:
            raise InvalidRequest("'pyrt run' requires at least 1 argument: see 'pyrt run --help'")
        image, words = words[0], words[1:]
    elif not rootfs:
        raise InvalidRequest("--rootfs: which directory?")
    return RunRequest(
        image=image,
        args=words,
        rootfs=rootfs,
        env=_env(given),
        workdir=given["workdir"] or "",
        user=given["user"] or "",
        group_add=given["group_add"],
        hostname=given["hostname"] or "",
        domainname=given["domainname"] or "",
        name=given["name"] or "",
        interactive=given["interactive"],
        tty=given["tty"],
        remove=given["rm"],
        memory=_size(given, "memory"),
        memory_swap=-1 if given["memory_swap"] == "-1" else _size(given, "memory_swap"),
        memory_reservation=_size(given, "memory_reservation"),
        nano_cpus=_flag("--cpus", units.parse_cpus, given["cpus"]) or 0,
        cpu_shares=_int(given, "cpu_shares"),
        cpuset_cpus=given["cpuset_cpus"] or "",
        cpuset_mems=given["cpuset_mems"] or "",
        pids_limit=_int(given, "pids_limit"),
        oom_score_adj=_int(given, "oom_score_adj"),
        ulimits=tuple(_flag("--ulimit", flags.ulimit, text) for text in given["ulimit"]),
        read_only=given["read_only"],
        tmpfs=tuple(flags.parse_tmpfs(text) for text in given["tmpfs"]),
        mounts=(*map(flags.parse_volume, given["volume"]), *map(flags.parse_mount, given["mount"])),
        cap_add=given["cap_add"],
        cap_drop=given["cap_drop"],
        privileged=given["privileged"],
        security_opt=tuple(map(flags.security_option, given["security_opt"])),
        devices=tuple(map(flags.parse_device, given["device"])),
        sysctls=tuple(flags.parse_pair(text, "--sysctl") for text in given["sysctl"]),
        shm_size=_size(given, "shm_size"),
        init=given["init"],
        entrypoint=None if given["entrypoint"] is None else tuple(filter(None, (given["entrypoint"],))),
        labels=tuple(flags.parse_pair(text, "--label") for text in given["label"]),
        stop_signal=given["stop_signal"] or "",
        network=given["network"] or "none",
        pid=given["pid"] or "private",
        ipc=given["ipc"] or "private",
        uts=given["uts"] or "private",
        userns=given["userns"] or "",
        cgroupns=given["cgroupns"] or "private",
        cidfile=given["cidfile"] or "",
    )


def _env(given: dict[str, Any]) -> tuple[str, ...]:
    found: list[str] = []
    for path in given["env_file"]:
        found.extend(flags.read_env_file(path, os.environ))
    for text in given["env"]:
        item = flags.env_item(text, os.environ)
        if item is not None:
            found.append(item)
    return tuple(found)


def _flag(flag: str, parse: Callable[[str], Any], text: str | None) -> Any:
    """``parse(text)``, with the flag's name in what it complains about."""
    if text is None:
        return None
    try:
        return parse(text)
    except InvalidRequest as e:
        raise InvalidRequest(f'invalid argument "{text}" for "{flag}" flag: {e}') from None


def _name(key: str) -> str:
    return "--" + key.replace("_", "-")


def _size(given: dict[str, Any], key: str) -> int | None:
    found: int | None = _flag(_name(key), units.parse_size, given[key])
    return found


def _int(given: dict[str, Any], key: str) -> int | None:
    def parse(text: str) -> int:
        try:
            return int(text, 10)
        except ValueError:
            raise InvalidRequest("invalid syntax") from None

    found: int | None = _flag(_name(key), parse, given[key])
    return found

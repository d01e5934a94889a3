"""Docker's flag syntax, read into typed values: volumes, mounts, tmpfs, devices, environments, sysctls.

Every function takes what a user wrote and raises InvalidRequest with one line that quotes it. Nothing here looks at the
file system, except `read_env_file`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from pyrt.base.errors import InvalidRequest, errno_words
from pyrt.base.units import parse_size, parse_ulimit
from pyrt.model.run import Device, Mount, Tmpfs, Ulimit

__all__ = [
    "env_item",
    "parse_device",
    "parse_mount",
    "parse_pair",
    "parse_tmpfs",
    "parse_volume",
    "read_env_file",
    "security_option",
    "ulimit",
]

PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
_CONSISTENCY = ("consistent", "cached", "delegated", "default")
_MOUNT_FLAGS = ("exec", "noexec", "suid", "nosuid", "dev", "nodev", "noatime", "relatime", "nodiratime", "nosymfollow")


def _target(path: str, whole: str) -> str:
    """A container path, cleaned; docker's message for a relative one."""
    if not path.startswith("/"):
        raise InvalidRequest(f"invalid mount target in '{whole}': '{path}' is not an absolute path")
    if "\0" in path:
        raise InvalidRequest(f"invalid mount target in {whole!r}: NUL byte")
    clean = os.path.normpath(path).replace("//", "/")
    if clean == "/":
        raise InvalidRequest(f"invalid specification '{whole}': destination can't be '/'")
    return clean


def _host_path(path: str, whole: str, cwd: str) -> str:
    if "\0" in path:
        raise InvalidRequest(f"invalid host path in {whole!r}: NUL byte")
    if path.startswith("/"):
        return os.path.normpath(path)
    if path in (".", "..") or path.startswith(("./", "../")):
        return os.path.normpath(os.path.join(cwd or os.getcwd(), path))
    raise InvalidRequest(
        f"invalid volume '{whole}': '{path}' is a volume's name, and this image takes host directories only: "
        "give an absolute path, or one that begins with ./"
    )


def parse_volume(text: str, cwd: str = "") -> Mount:
    """`-v HOST:CONTAINER[:ro,rw,z,Z,rprivate,nosuid,…]`; a missing host directory will be made."""
    parts = text.split(":")
    if len(parts) == 1 and parts[0]:
        raise InvalidRequest(f"invalid volume '{text}': a volume without a host path is kept nowhere here: use --tmpfs {text} instead")
    if len(parts) not in (2, 3) or not parts[0] or not parts[1]:
        raise InvalidRequest(f"invalid volume specification: '{text}'")
    source, target = _host_path(parts[0], text, cwd), _target(parts[1], text)
    readonly, propagation, recursive, seen_mode = False, "rprivate", True, False
    options: list[str] = []
    for word in parts[2].split(",") if len(parts) == 3 else ():
        if word in ("ro", "rw"):
            if seen_mode:
                raise InvalidRequest(f"invalid mode in volume '{text}': ro or rw, once")
            readonly, seen_mode = word == "ro", True
        elif word in PROPAGATIONS:
            propagation = word
        elif word in ("rbind", "bind"):
            recursive = word == "rbind"
        elif word in _MOUNT_FLAGS:
            options.append(word)
        elif word not in ("z", "Z", "nocopy", *_CONSISTENCY):
            raise InvalidRequest(f"invalid mode in volume '{text}': '{word}'")
    return Mount(
        target=target,
        source=source,
        readonly=readonly,
        propagation=propagation,
        recursive=recursive,
        create_source=True,
        options=tuple(options),
        flag=f"-v {text}",
    )


def parse_mount(text: str, cwd: str = "") -> Mount:
    """`--mount type=bind|tmpfs,source=…,target=…,…` with docker's keys and CSV quoting."""
    values = _mount_fields(text)
    kind = values.pop("type", "volume")
    if kind not in ("bind", "tmpfs"):
        raise InvalidRequest(f"invalid --mount '{text}': type {kind} is not one of bind, tmpfs")
    if "target" not in values:
        raise InvalidRequest(f"invalid --mount '{text}': target is required")
    target = _target(values.pop("target"), text)
    readonly = _boolean(values.pop("readonly", "false"), "readonly", text)
    values.pop("consistency", None)
    if kind == "tmpfs":
        made = _tmpfs_mount(target, readonly, values, text)
    else:
        made = _bind_mount(target, readonly, values, text, cwd)
    if values:
        raise InvalidRequest(f"invalid --mount '{text}': unexpected key '{next(iter(values))}' for type {kind}")
    return made


_MOUNT_KEYS = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}
_BARE_KEYS = ("readonly", "bind-nonrecursive", "bind-create-src")


def _mount_fields(text: str) -> dict[str, str]:
    import csv

    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as e:
        raise InvalidRequest(f"invalid --mount '{text}': {e}") from None
    values: dict[str, str] = {}
    for item in rows[0] if rows else ():
        key, equals, value = item.partition("=")
        name = _MOUNT_KEYS.get(key.lower().strip(), key.lower().strip())
        if not equals:
            if name not in _BARE_KEYS:
                raise InvalidRequest(f"invalid --mount '{text}': '{item}' must be a key=value pair")
            value = "true"
        values[name] = value
    return values


def _boolean(word: str, key: str, whole: str) -> bool:
    if word.lower() in ("1", "t", "true"):
        return True
    if word.lower() in ("0", "f", "false"):
        return False
    raise InvalidRequest(f"invalid --mount '{whole}': invalid value for {key}: {word}")


def _tmpfs_mount(target: str, readonly: bool, values: dict[str, str], text: str) -> Mount:
    size = parse_size(values.pop("tmpfs-size", "0"))
    mode_text = values.pop("tmpfs-mode", "")
    try:
        mode = int(mode_text, 8) if mode_text else None
    except ValueError:
        mode = -1
    if mode is not None and not 0 <= mode <= 0o7777:
        raise InvalidRequest(f"invalid --mount '{text}': invalid value for tmpfs-mode: {mode_text}")
    if values.get("source"):
        raise InvalidRequest(f"invalid --mount '{text}': source is not for type tmpfs")
    values.pop("source", None)
    return Mount(target=target, type="tmpfs", readonly=readonly, size=size, mode=mode, flag=f"--mount {text}")


def _bind_mount(target: str, readonly: bool, values: dict[str, str], text: str, cwd: str) -> Mount:
    source = values.pop("source", "")
    if not source:
        raise InvalidRequest(f"invalid --mount '{text}': source is required for type bind")
    propagation = values.pop("bind-propagation", "rprivate")
    if propagation not in PROPAGATIONS:
        raise InvalidRequest(f"invalid --mount '{text}': invalid propagation '{propagation}'")
    recursive = not _boolean(values.pop("bind-nonrecursive", "false"), "bind-nonrecursive", text)
    how = values.pop("bind-recursive", "enabled")
    if how not in ("enabled", "disabled", "writable", "readonly"):
        raise InvalidRequest(f"invalid --mount '{text}': invalid value for bind-recursive: {how}")
    if how == "readonly" and not readonly:
        raise InvalidRequest(f"invalid --mount '{text}': bind-recursive=readonly requires readonly")
    return Mount(
        target=target,
        source=_host_path(source, text, cwd),
        readonly=readonly,
        propagation=propagation,
        recursive=recursive and how != "disabled",
        readonly_recursive=how == "readonly",
        create_source=_boolean(values.pop("bind-create-src", "false"), "bind-create-src", text),
        flag=f"--mount {text}",
    )


def parse_tmpfs(text: str) -> Tmpfs:
    """`--tmpfs TARGET[:size=64m,mode=1777,noexec,…]`."""
    target, _, options = text.partition(":")
    return Tmpfs(_target(target, text), tuple(word for word in options.split(",") if word))


def parse_device(text: str) -> Device:
    """`--device HOST[:CONTAINER][:rwm]`."""
    parts = text.split(":")
    source, target, access = parts[0], parts[0], "rwm"
    if len(parts) == 3:
        target, access = parts[1] or source, parts[2]
    elif len(parts) == 2:
        if parts[1] and not set(parts[1]) - set("rwm"):
            access = parts[1]
        else:
            target = parts[1] or source
    elif len(parts) > 3:
        raise InvalidRequest(f"invalid device specification: {text}")
    if not access or set(access) - set("rwm") or len(set(access)) != len(access):
        raise InvalidRequest(f"invalid device specification: {text}: invalid device mode: {access}")
    if not source.startswith("/"):
        raise InvalidRequest(f"invalid device specification: {text}: the host's path has to be absolute")
    if not target.startswith("/"):
        raise InvalidRequest(f"invalid device specification: {text}: the container's path has to be absolute")
    return Device(os.path.normpath(source), os.path.normpath(target), access)


def ulimit(text: str) -> Ulimit:
    """`--ulimit NAME=SOFT[:HARD]`."""
    return Ulimit(*parse_ulimit(text))


def parse_pair(text: str, flag: str) -> tuple[str, str]:
    """(key, value) of `KEY=VALUE`; a key alone has the value ""."""
    key, _, value = text.partition("=")
    if not key:
        raise InvalidRequest(f"invalid argument '{text}' for {flag}: no key")
    return key, value


def env_item(text: str, environ: Mapping[str, str]) -> str | None:
    """`-e KEY=VALUE`, or `-e KEY` for the caller's own value; None when the caller has none."""
    key, equals, value = text.partition("=")
    if not key:
        raise InvalidRequest(f"invalid environment variable: {text}")
    if "\0" in text:
        raise InvalidRequest(f"invalid environment variable: {key}: NUL byte in its value")
    if equals:
        return f"{key}={value}"
    return f"{key}={environ[key]}" if key in environ else None


def read_env_file(path: str, environ: Mapping[str, str]) -> Iterable[str]:
    """The `KEY=VALUE` lines of an env file: # starts a comment, a key alone takes the caller's value, quotes stay."""
    try:
        with open(path, encoding="utf-8-sig", errors="strict") as file:
            lines = file.read().splitlines()
    except OSError as e:
        raise InvalidRequest(f"cannot read env file {path}: {errno_words(e.errno or 0)}") from None
    except UnicodeDecodeError as e:
        raise InvalidRequest(f"env file {path} is not UTF-8: {e.reason} at byte {e.start}") from None
    found: list[str] = []
    for number, line in enumerate(lines, 1):
        text = line.lstrip()
        if not text or text.startswith("#"):
            continue
        key = text.partition("=")[0]
        if not key:
            raise InvalidRequest(f"env file {path} line {number}: no variable name on line '{line}'")
        if key.split() != [key]:
            raise InvalidRequest(f"env file {path} line {number}: variable '{key}' contains whitespaces")
        item = env_item(text, environ)
        if item is not None:
            found.append(item)
    return found


def security_option(text: str) -> str:
    """`--security-opt`; for ``seccomp=FILE`` the file's content takes the place of its name, as docker's client does."""
    key, equals, value = text.partition("=")
    if key != "seccomp" or not equals or value in ("unconfined", "builtin") or value.lstrip().startswith("{"):
        return text
    try:
        with open(value, encoding="utf-8") as file:
            profile = file.read()
    except OSError as e:
        raise InvalidRequest(f"opening seccomp profile ({value}) failed: {errno_words(e.errno or 0)}") from None
    except UnicodeDecodeError:
        raise InvalidRequest(f"seccomp profile ({value}) is not UTF-8") from None
    if not profile.lstrip().startswith("{"):
        raise InvalidRequest(f"compacting json for seccomp profile ({value}) failed: it is not a JSON object")
    return f"seccomp={profile}"

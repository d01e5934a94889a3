"""A run request becomes an OCI spec, with docker run's semantics and error texts.

`build_spec` is the one entry. Beside the spec it hands out *origins*: for a path of the spec, as
``linux.resources.memory``, the flag that asked for it, which `explain` shows as the reason of an op.
"""

from __future__ import annotations

import os

from msgspec import Struct

from pyrt.base import units
from pyrt.base.errors import InvalidRequest, Unsupported, errno_words
from pyrt.base.ids import check_name, short_id
from pyrt.base.inroot import read_in_root
from pyrt.model import oci
from pyrt.model.image import ImageConfig
from pyrt.model.run import RunRequest
from pyrt.runtime.spec import defaults, request_devices, request_mounts, seccomp_profile
from pyrt.runtime.spec.users import Identity, resolve_user

__all__ = ["Built", "Surroundings", "build_spec"]

MEMORY_MINIMUM = 6 << 20
HOST_LIKE = ("private", "host")


class Surroundings(Struct, frozen=True):
    """What has to be known about this machine and this user to turn a request into a spec.

    ``capabilities`` are those that a container in our own user namespace can get at most. ``uid_map``/``gid_map`` are
    what a user namespace of ours can map: (inside, outside, size).
    """

    root: bool
    uid: int
    gid: int
    capabilities: frozenset[str]
    uid_map: tuple[tuple[int, int, int], ...] = ()
    gid_map: tuple[tuple[int, int, int], ...] = ()
    cgroup_mount: bool = True
    cpus: int = 1
    cpus_online: str = ""
    nodename: str = "localhost"
    selinux: bool = False


class Built(Struct, frozen=True):
    """The spec, who asked for what, and what a spec has no field for."""

    spec: oci.Spec
    origins: dict[str, str]
    identity: Identity
    hostname: str
    userns: bool


def build_spec(
    req: RunRequest,
    *,
    container_id: str,
    image_root: str,
    image: ImageConfig,
    here: Surroundings,
    hidden: tuple[str, ...] = (),
) -> Built:
    """Checks ``req`` and turns it into a spec for an image whose files stand at ``image_root`` (a host path).

    ``hidden`` are further paths to mask. Raises InvalidRequest, NotFound or Unsupported with one line; changes nothing.
    """
    origins: dict[str, str] = {}
    _check(req, here)
    userns = _user_namespace(req, here)
    identity = _identity(req, image_root, image)
    _check_mapped(identity, here if userns else None, req.user)
    hostname = _hostname(req, container_id, here)
    caps = capabilities(req, here, confined=userns)
    mounts = request_mounts.mounts(req, image, here, userns=userns, origins=origins)
    devices, rules = request_devices.devices(req, userns=userns, origins=origins)
    annotations = dict(req.labels)
    stop_signal = req.stop_signal or image.stop_signal
    if stop_signal:
        units.parse_signal(stop_signal)
        annotations["org.opencontainers.image.stopSignal"] = stop_signal
    spec = oci.Spec(
        oci_version=defaults.OCI_VERSION,
        root=oci.Root(path=image_root, readonly=req.read_only),
        hostname=hostname if req.uts != "host" else "",
        domainname=req.domainname,
        mounts=mounts,
        annotations=annotations,
        process=_process(req, image, identity, hostname, caps, here, origins),
        linux=_linux(req, here, userns, devices, rules, caps, hidden, origins),
    )
    if req.read_only:
        origins["root.readonly"] = "--read-only"
    if req.hostname:
        origins["hostname"] = f"--hostname {req.hostname}"
    if req.domainname:
        origins["domainname"] = f"--domainname {req.domainname}"
    return Built(spec, origins, identity, hostname, userns)


# -- checks ----------------------------------------------------------------------------------------------------------


def _check(req: RunRequest, here: Surroundings) -> None:
    if req.name:
        check_name(req.name)
    _one_of("--network", req.network, ("none", "host"), "network %s not found")
    _one_of("--pid", req.pid, HOST_LIKE)
    _one_of("--ipc", req.ipc, ("private", "shareable", "host", "none"))
    _one_of("--uts", req.uts, HOST_LIKE)
    _one_of("--cgroupns", req.cgroupns, HOST_LIKE)
    _one_of("--userns", req.userns, ("", "host", "private", "auto"))
    if req.hostname and req.uts == "host":
        raise InvalidRequest("conflicting options: hostname and the UTS mode")
    if req.domainname and req.uts == "host":
        raise InvalidRequest("conflicting options: domainname and the UTS mode")
    for word, flag in ((req.hostname, "hostname"), (req.domainname, "domainname")):
        if len(word.encode()) > 64 or any(c in word for c in "/ \n\0"):
            raise InvalidRequest(f"invalid {flag} '{word}': 64 bytes at most, without spaces and slashes")
    if req.workdir and not req.workdir.startswith("/"):
        raise InvalidRequest(f"the working directory '{req.workdir}' is invalid, it needs to be an absolute path")
    for item in (*req.args, *req.env, *(req.entrypoint or ()), req.workdir, req.user):
        if "\0" in item:
            raise InvalidRequest(f"{item!r}: a NUL byte cannot be passed to a program")
    for item in req.env:
        if item.find("=") < 1:
            raise InvalidRequest(f"invalid environment variable: {item}")
    _check_limits(req, here)


def _one_of(flag: str, value: str, allowed: tuple[str, ...], wording: str = "invalid value %s") -> None:
    if value not in allowed:
        known = ", ".join(word for word in allowed if word)
        raise InvalidRequest(f"{flag}: {wording % (value or repr(value))}: one of {known}")


def _check_limits(req: RunRequest, here: Surroundings) -> None:
    memory, swap = req.memory or 0, req.memory_swap or 0
    if memory < 0 or 0 < memory < MEMORY_MINIMUM:
        raise InvalidRequest("Minimum memory limit allowed is 6MB")
    if swap > 0 and not memory:
        raise InvalidRequest("You should always set the Memory limit when using Memoryswap limit, see usage")
    if 0 < swap < memory:
        raise InvalidRequest("Minimum memoryswap limit should be larger than memory limit, see usage")
    if swap < -1:
        raise InvalidRequest(f"invalid --memory-swap: {swap}")
    reservation = req.memory_reservation or 0
    if 0 < reservation < MEMORY_MINIMUM:
        raise InvalidRequest("Minimum memory reservation allowed is 6MB")
    if memory and reservation > memory:
        raise InvalidRequest("Minimum memory limit can not be less than memory reservation limit, see usage")
    if not 0 <= req.nano_cpus <= here.cpus * 1_000_000_000 or 0 < req.nano_cpus < 10_000_000:
        raise InvalidRequest(f"range of CPUs is from 0.01 to {here.cpus}.00, as there are only {here.cpus} CPUs available")
    if req.cpu_shares is not None and req.cpu_shares != 0 and not 2 <= req.cpu_shares <= 262144:
        raise InvalidRequest(f"invalid --cpu-shares {req.cpu_shares}: from 2 to 262144")
    for flag, text in (("--cpuset-cpus", req.cpuset_cpus), ("--cpuset-mems", req.cpuset_mems)):
        if text:
            try:
                wanted = units.parse_list(text)
            except InvalidRequest as e:
                raise InvalidRequest(f"{flag}: {e}") from None
            if flag == "--cpuset-cpus" and here.cpus_online and not set(wanted) <= set(units.parse_list(here.cpus_online)):
                raise InvalidRequest(f"Requested CPUs are not available - requested {text}, available: {here.cpus_online}")
    if req.pids_limit is not None and req.pids_limit < -1:
        raise InvalidRequest(f"invalid --pids-limit {req.pids_limit}")
    if req.shm_size is not None and req.shm_size < 0:
        raise InvalidRequest("SHM size can not be less than 0")
    if req.oom_score_adj is not None and not -1000 <= req.oom_score_adj <= 1000:
        raise InvalidRequest("Invalid value, range for oom score adj is [-1000, 1000]")


# -- who -------------------------------------------------------------------------------------------------------------


def _identity(req: RunRequest, image_root: str, image: ImageConfig) -> Identity:
    try:
        passwd = read_in_root(image_root, "/etc/passwd")
        group = read_in_root(image_root, "/etc/group")
    except OSError as e:
        raise Unsupported(f"cannot read the image's /etc/passwd and /etc/group: {errno_words(e.errno or 0)}") from None
    return resolve_user(req.user or image.user, passwd, group, req.group_add)


def _user_namespace(req: RunRequest, here: Surroundings) -> bool:
    if req.userns == "host" and not here.root:
        raise Unsupported("--userns host needs root: without it a container lives in a user namespace of its own")
    wanted = req.userns in ("private", "auto") or not here.root
    if wanted and req.privileged and here.root:
        raise InvalidRequest("privileged mode is incompatible with user namespaces: use --userns host")
    return wanted


def _check_mapped(identity: Identity, here: Surroundings | None, text: str) -> None:
    if here is None:
        return
    for kind, number, ranges in (("uid", identity.uid, here.uid_map), ("gid", identity.gid, here.gid_map)):
        if not any(inside <= number < inside + size for inside, _, size in ranges):
            raise Unsupported(
                f"-u {text}: {kind} {number} is not mapped in the user namespace: give this user a range in "
                f"/etc/sub{kind} and install newuidmap"
            )


def _hostname(req: RunRequest, container_id: str, here: Surroundings) -> str:
    if req.hostname:
        return req.hostname
    return here.nodename if "host" in (req.uts, req.network) else short_id(container_id)


def capabilities(req: RunRequest, here: Surroundings, *, confined: bool) -> tuple[str, ...]:
    """The bounding set by name, in the kernel's order. ``confined``: in its own user namespace, where all can be had."""
    known = defaults.all_capabilities()
    available = frozenset(known) if confined else here.capabilities.intersection(known)
    add = _capability_names(req.cap_add, "CapAdd")
    drop = _capability_names(req.cap_drop, "CapDrop")
    if req.privileged:
        chosen = set(available)
    elif "ALL" in add:
        chosen = set(available) - drop
    elif "ALL" in drop:
        chosen = add
    else:
        chosen = (set(defaults.DEFAULT_CAPABILITIES) - drop) | add
    return tuple(name for name in known if name in chosen)


def _capability_names(words: tuple[str, ...], kind: str) -> set[str]:
    names = set()
    for word in words:
        name = word.strip().upper()
        if name != "ALL" and not name.startswith("CAP_"):
            name = "CAP_" + name
        if name != "ALL" and name not in defaults.all_capabilities():
            raise InvalidRequest(f'invalid {kind}: unknown capability: "{name}"')
        names.add(name)
    return names


# -- process ---------------------------------------------------------------------------------------------------------


def _process(
    req: RunRequest,
    image: ImageConfig,
    who: Identity,
    hostname: str,
    caps: tuple[str, ...],
    here: Surroundings,
    origins: dict[str, str],
) -> oci.Process:
    security = _security_options(req)
    sets = defaults.capability_sets(caps)
    if who.uid != 0:
        sets = oci.LinuxCapabilities(bounding=caps)  # what execve(2) would leave of the others
    _note_process(req, origins)
    return oci.Process(
        terminal=req.tty,
        args=_command(req, image),
        env=_environment(req, image, who, hostname),
        cwd=os.path.normpath(req.workdir or image.workdir or "/").replace("//", "/"),
        user=oci.User(uid=who.uid, gid=who.gid, additional_gids=_groups(req, who, here)),
        capabilities=sets,
        rlimits=tuple(oci.Rlimit(type=units.ULIMITS[limit.name], soft=limit.soft, hard=limit.hard) for limit in req.ulimits),
        no_new_privileges=security.no_new_privileges,
        apparmor_profile=security.apparmor,
        selinux_label=_selinux_label(security.label, here),
        oom_score_adj=req.oom_score_adj,
    )


def _groups(req: RunRequest, who: Identity, here: Surroundings) -> tuple[int, ...]:
    """The supplementary groups. A user whose namespace has one group only may set none (user_namespaces(7))."""
    if here.root or len(here.gid_map) > 1:
        return who.groups
    if req.group_add:
        raise Unsupported("--group-add: give this user a range in /etc/subgid and install newgidmap")
    return ()


def _note_process(req: RunRequest, origins: dict[str, str]) -> None:
    notes = {
        "process.user": f"-u {req.user}" if req.user else "",
        "process.cwd": f"-w {req.workdir}" if req.workdir else "",
        "process.terminal": "-t" if req.tty else "",
        "process.capabilities": " ".join(
            [f"--cap-add {cap}" for cap in req.cap_add] + [f"--cap-drop {cap}" for cap in req.cap_drop] + ["--privileged"] * req.privileged
        ),
        "process.rlimits": " ".join(f"--ulimit {limit.name}" for limit in req.ulimits),
        "process.oomScoreAdj": f"--oom-score-adj {req.oom_score_adj}" if req.oom_score_adj is not None else "",
        "process.noNewPrivileges": _options(req, "no-new-privileges"),
        "process.apparmorProfile": _options(req, "apparmor"),
        "process.selinuxLabel": _options(req, "label"),
    }
    origins.update({path: flag for path, flag in notes.items() if flag})


def _options(req: RunRequest, name: str) -> str:
    return " ".join(f"--security-opt {option}" for option in req.security_opt if option.startswith(name))


def _command(req: RunRequest, image: ImageConfig) -> tuple[str, ...]:
    if req.entrypoint is not None:
        command = (*req.entrypoint, *req.args)  # docker: a new entrypoint also drops the image's command
    else:
        command = (*image.entrypoint, *(req.args or image.cmd))
    if not command:
        raise InvalidRequest("no command specified")
    return command


def _environment(req: RunRequest, image: ImageConfig, who: Identity, hostname: str) -> tuple[str, ...]:
    values = {"PATH": defaults.DEFAULT_PATH, "HOSTNAME": hostname}
    if req.tty:
        values["TERM"] = "xterm"
    for item in (*image.env, *req.env):
        key, _, value = item.partition("=")
        values[key] = value
    values.setdefault("HOME", who.home)
    return tuple(f"{key}={value}" for key, value in values.items())


# -- security --------------------------------------------------------------------------------------------------------


class _Security(Struct, frozen=True):
    no_new_privileges: bool = False
    seccomp: str = ""
    apparmor: str = ""
    label: tuple[str, ...] = ()
    system_paths: bool = True


def _security_options(req: RunRequest) -> _Security:
    no_new, seccomp, apparmor, label, paths = False, "", "", list[str](), True
    for option in req.security_opt:
        key, equals, value = option.partition("=")
        if not equals and ":" in option:
            key, equals, value = option.partition(":")
        if key == "no-new-privileges" and (not equals or value.lower() in ("true", "false", "1", "0")):
            no_new = not equals or value.lower() in ("true", "1")
        elif key == "seccomp" and value:
            seccomp = value
        elif key == "apparmor" and value:
            apparmor = "" if value == "unconfined" else value
        elif key == "label" and value:
            label.append(value)
        elif key == "systempaths" and value == "unconfined":
            paths = False
        else:
            raise InvalidRequest(f"invalid --security-opt: {option!r}")
    return _Security(no_new, seccomp, apparmor, tuple(label), paths)


def _selinux_label(parts: tuple[str, ...], here: Surroundings) -> str:
    if not parts or "disable" in parts:
        return ""
    if not here.selinux:
        raise Unsupported(f"--security-opt label={parts[0]}: SELinux is not enabled on this kernel")
    label = {"user": "system_u", "role": "system_r", "type": "container_t", "level": "s0"}
    for part in parts:
        key, _, value = part.partition(":")
        if key not in label or not value:
            raise InvalidRequest(f"invalid --security-opt: 'label={part}'")
        label[key] = value
    return ":".join(label.values())


def _seccomp(req: RunRequest, caps: tuple[str, ...]) -> oci.LinuxSeccomp | None:
    chosen = _security_options(req).seccomp
    if chosen == "unconfined" or (req.privileged and not chosen):
        return None
    if not chosen or chosen == "builtin":
        return seccomp_profile.profile(caps)
    if chosen.lstrip().startswith("{"):
        return seccomp_profile.load_profile(chosen.encode("utf-8", "surrogateescape"), caps)
    try:
        with open(chosen, "rb") as file:
            raw = file.read()
    except OSError as e:
        raise InvalidRequest(f"opening seccomp profile ({chosen}) failed: {errno_words(e.errno or 0)}") from None
    return seccomp_profile.load_profile(raw, caps, name=chosen)


# -- linux -----------------------------------------------------------------------------------------------------------


def _linux(
    req: RunRequest,
    here: Surroundings,
    userns: bool,
    devices: tuple[oci.LinuxDevice, ...],
    rules: tuple[oci.LinuxDeviceCgroup, ...],
    caps: tuple[str, ...],
    hidden: tuple[str, ...],
    origins: dict[str, str],
) -> oci.Linux:
    bare = req.privileged or not _security_options(req).system_paths
    for option in req.security_opt:
        key = option.replace(":", "=").partition("=")[0]
        if key == "seccomp":
            origins["linux.seccomp"] = "--security-opt seccomp=" + ("FILE" if "{" in option else option[8:])
        elif key == "systempaths":
            origins["linux.maskedPaths"] = origins["linux.readonlyPaths"] = f"--security-opt {option}"
    return oci.Linux(
        namespaces=_namespaces(req, userns, origins),
        uid_mappings=_mappings(here.uid_map) if userns else (),
        gid_mappings=_mappings(here.gid_map) if userns else (),
        devices=devices,
        resources=_resources(req, rules, origins),
        sysctl=_sysctls(req, origins),
        seccomp=_seccomp(req, caps),
        masked_paths=hidden if bare else (*defaults.masked_paths(), *hidden),
        readonly_paths=() if bare else defaults.READONLY_PATHS,
    )


def _mappings(ranges: tuple[tuple[int, int, int], ...]) -> tuple[oci.IDMapping, ...]:
    return tuple(oci.IDMapping(container_id=inside, host_id=outside, size=size) for inside, outside, size in ranges)


def _namespaces(req: RunRequest, userns: bool, origins: dict[str, str]) -> tuple[oci.LinuxNamespace, ...]:
    kinds = ["mount"]
    for kind, value, flag in (
        ("pid", req.pid, "--pid"),
        ("network", req.network, "--network"),
        ("ipc", req.ipc, "--ipc"),
        ("uts", req.uts, "--uts"),
        ("cgroup", req.cgroupns, "--cgroupns"),
    ):
        if value != "host":
            kinds.append(kind)
        else:
            origins["linux.namespaces"] = f"{origins.get('linux.namespaces', '')} {flag} host".strip()
    if userns:
        kinds.append("user")
        if req.userns:
            origins["linux.uidMappings"] = origins["linux.gidMappings"] = f"--userns {req.userns}"
    return tuple(oci.LinuxNamespace(type=kind) for kind in kinds)


def _resources(req: RunRequest, rules: tuple[oci.LinuxDeviceCgroup, ...], origins: dict[str, str]) -> oci.LinuxResources:
    memory = cpu = pids = None
    if req.memory or req.memory_reservation or req.memory_swap == -1:
        limit = req.memory or None
        swap = req.memory_swap or (2 * limit if limit else None)
        memory = oci.LinuxMemory(limit=limit, swap=swap, reservation=req.memory_reservation or None)
        origins["linux.resources.memory"] = f"-m {units.format_size(limit)}" if limit else "--memory-reservation"
        if req.memory_swap:
            origins["linux.resources.memory.swap"] = f"--memory-swap {req.memory_swap}"
    if req.nano_cpus or req.cpu_shares or req.cpuset_cpus or req.cpuset_mems:
        cpu = oci.LinuxCPU(
            quota=req.nano_cpus * 100_000 // 1_000_000_000 if req.nano_cpus else None,
            period=100_000 if req.nano_cpus else None,
            shares=req.cpu_shares or None,
            cpus=req.cpuset_cpus,
            mems=req.cpuset_mems,
        )
        for path, flag, value in (
            ("quota", "--cpus", req.nano_cpus / 1e9),
            ("shares", "--cpu-shares", req.cpu_shares),
            ("cpus", "--cpuset-cpus", req.cpuset_cpus),
            ("mems", "--cpuset-mems", req.cpuset_mems),
        ):
            if value:
                origins[f"linux.resources.cpu.{path}"] = f"{flag} {value}"
    if req.pids_limit:
        pids = oci.LinuxPids(limit=req.pids_limit)
        origins["linux.resources.pids"] = f"--pids-limit {req.pids_limit}"
    return oci.LinuxResources(devices=rules, memory=memory, cpu=cpu, pids=pids)


_IPC_SYSCTLS_TEXT = """
    kernel.msgmax kernel.msgmnb kernel.msgmni kernel.sem kernel.shmall kernel.shmmax kernel.shmmni
    kernel.shm_rmid_forced kernel.auto_msgmni
"""
_IPC_SYSCTLS = frozenset(_IPC_SYSCTLS_TEXT.split())


def _sysctls(req: RunRequest, origins: dict[str, str]) -> dict[str, str]:
    found = {}
    for key, value in req.sysctls:
        # A slash and a dot stand for each other; the first separator says which is which (sysctl.d(5)).
        name = key.replace("/", ".") if 0 <= key.find("/") < (key.find(".") if "." in key else len(key)) else key
        if ".." in name or name.startswith("."):
            raise InvalidRequest(f"invalid --sysctl '{key}={value}'")
        if name in _IPC_SYSCTLS or name.startswith("fs.mqueue."):
            if req.ipc == "host":
                raise InvalidRequest(f"sysctl '{key}={value}' is not allowed with --ipc host")
        elif name.startswith("net."):
            if req.network == "host":
                raise InvalidRequest(f"sysctl '{key}={value}' is not allowed with --network host")
        else:
            raise InvalidRequest(f"sysctl '{key}={value}' is not allowed: it does not belong to one container")
        found[name] = value
        origins[f"linux.sysctl.{name}"] = f"--sysctl {key}={value}"
    return found

"""What a configuration means: everything that can be refused before anything has been done.

Three outcomes for each rule, the same as runc's wherever runc has the rule: InvalidSpec (it makes no sense),
Unsupported (this kernel or this runtime cannot do it: never silently left out), or a warning, which is returned.
Messages are one line and begin with the JSON path. What only the kernel can judge (is there such a file system, may
this user mount it) is left to the op, whose error says more.

Sources: runtime-spec config.md and config-linux.md ("MUST generate an error"), and the man pages named at the
rules.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable

from pyrt.base.errors import InvalidSpec, Unsupported, errno_words
from pyrt.model import oci
from pyrt.runtime.spec import limits
from pyrt.runtime.spec.defaults import CAPABILITIES, last_capability

NAMESPACES: tuple[str, ...] = ("cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts")
PROPAGATIONS: tuple[str, ...] = ("shared", "slave", "private", "unbindable", "rshared", "rslave", "rprivate", "runbindable")

_IPC_SYSCTLS = ("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced")


def validate(spec: oci.Spec, bundle: str) -> tuple[str, ...]:
    """Checks `spec` for a new container whose bundle is the directory `bundle`; gives the warnings.

    Raises InvalidSpec or Unsupported for the first thing that is wrong."""
    _version(spec.oci_version)
    _root(spec.root, bundle)
    if spec.process is None:
        raise InvalidSpec("$.process: process property must not be empty")
    linux = spec.linux or oci.Linux()
    warnings = [*validate_process(spec.process)]
    namespaces = _namespaces(linux)
    _names(spec, namespaces)
    _hooks(spec.hooks)
    for key in spec.annotations:
        if not key:
            raise InvalidSpec("$.annotations: a key is empty")
    rootless = os.geteuid() != 0
    if rootless:
        _rootless(spec, linux, namespaces)
    warnings += _mounts(spec.mounts, rootless)
    _paths(linux, namespaces)
    _sysctls(linux.sysctl, namespaces)
    _devices(linux)
    _other(linux)
    if linux.mount_label and not has_selinux():  # crun passes over it; a mount option "context=" would fail
        warnings.append("$.linux.mountLabel: ignored: SELinux is not enabled in this kernel")
    if linux.resources is not None:
        limits.validate_resources(linux.resources)
    if linux.seccomp is not None:
        _seccomp(linux.seccomp)
    return tuple(warnings)


def validate_process(process: oci.Process, where: str = "$.process") -> tuple[str, ...]:
    """Checks a process of a new container or of `exec`; gives the warnings. Raises InvalidSpec or Unsupported."""
    if not process.cwd:
        raise InvalidSpec(f"{where}.cwd: Cwd property must not be empty")
    if not process.cwd.startswith("/"):
        raise InvalidSpec(f"{where}.cwd: Cwd must be an absolute path")
    if not process.args:
        raise InvalidSpec(f"{where}.args: args must not be empty")
    if process.console_size is not None and max(process.console_size.height, process.console_size.width) > 0xFFFF:
        raise InvalidSpec(f"{where}.consoleSize: a terminal has at most 65535 rows and columns")
    limits.validate_process_limits(process, where)
    if process.apparmor_profile not in ("", "unconfined") and not has_apparmor():
        raise Unsupported(f"{where}.apparmorProfile: AppArmor is not enabled in this kernel")
    if process.selinux_label and not has_selinux():
        raise Unsupported(f"{where}.selinuxLabel: selinux label is specified in config, but selinux is disabled or not supported")
    return _capabilities(process.capabilities, where)


def has_apparmor() -> bool:
    """Is AppArmor enabled? (apparmor(7): the parameter reads Y)"""
    try:
        with open("/sys/module/apparmor/parameters/enabled", encoding="ascii") as file:
            return file.read(1) == "Y"
    except OSError:
        return False


def has_selinux() -> bool:
    """Is SELinux enabled? (selinuxfs is only there then)"""
    return os.path.exists("/sys/fs/selinux/enforce")


def _version(text: str) -> None:
    found = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)([-+][0-9A-Za-z.+-]+)?", text)
    if not found:
        raise InvalidSpec(f'$.ociVersion: "{text}" is not a version as "1.2.0" (SemVer 2.0.0)')
    if int(found[1]) > 1:
        raise Unsupported(f'$.ociVersion: "{text}": version 1 of the runtime specification is supported')


def _root(root: oci.Root | None, bundle: str) -> None:
    if root is None or not root.path:
        raise InvalidSpec("$.root.path: the path of the root file system is missing")
    path = os.path.join(bundle, root.path)
    try:
        seen = os.stat(path)
    except OSError as error:
        raise InvalidSpec(f"$.root.path: invalid rootfs: {path}: {errno_words(error.errno or 0)}") from None
    if seen.st_mode & 0o170000 != 0o040000:
        raise InvalidSpec(f"$.root.path: invalid rootfs: {path}: not a directory")


def _capabilities(caps: oci.LinuxCapabilities | None, where: str) -> tuple[str, ...]:
    if caps is None:
        return ()
    here = set(CAPABILITIES[: last_capability() + 1])
    asked = {*caps.bounding, *caps.effective, *caps.inheritable, *caps.permitted, *caps.ambient}
    missing = sorted(asked - here)
    return (f"{where}.capabilities: ignoring unknown or unavailable capabilities {missing}",) if missing else ()


# -- namespaces ------------------------------------------------------------------------------------------------------


def _namespaces(linux: oci.Linux) -> dict[str, str]:
    """Type -> path of the namespaces asked for."""
    found: dict[str, str] = {}
    for index, namespace in enumerate(linux.namespaces):
        where = f"$.linux.namespaces[{index}]"
        if namespace.type not in NAMESPACES:
            raise InvalidSpec(f'{where}.type: namespace "{namespace.type}" does not exist')
        if namespace.type in found:
            raise InvalidSpec(f'{where}.type: malformed spec file: duplicated ns "{namespace.type}"')
        if namespace.path and not namespace.path.startswith("/"):
            raise InvalidSpec(f"{where}.path: {namespace.path}: the path of a namespace must be absolute")
        kernel_name = {"network": "net", "mount": "mnt"}.get(namespace.type, namespace.type)
        if not os.path.exists(f"/proc/self/ns/{kernel_name}"):
            raise Unsupported(f"{where}.type: {namespace.type} namespaces aren't enabled in the kernel")
        found[namespace.type] = namespace.path
    _user_namespace(linux, found)
    if linux.time_offsets:
        if "time" not in found:
            raise InvalidSpec("$.linux.timeOffsets: time namespace offsets specified, but time namespace isn't enabled in the config")
        if found["time"]:
            raise InvalidSpec("$.linux.timeOffsets: both a path of a time namespace and offsets are given: choose one")
    for clock, offset in linux.time_offsets.items():
        if clock not in ("monotonic", "boottime"):
            raise InvalidSpec(f'$.linux.timeOffsets: unknown clock "{clock}" (monotonic or boottime)')
        if offset.nanosecs >= 1_000_000_000:
            raise InvalidSpec(f"$.linux.timeOffsets.{clock}.nanosecs: {offset.nanosecs}: less than a second, please")
    return found


def _user_namespace(linux: oci.Linux, namespaces: dict[str, str]) -> None:
    mapped = bool(linux.uid_mappings or linux.gid_mappings)
    if "user" not in namespaces:
        if mapped:
            raise InvalidSpec("$.linux.uidMappings: user namespace mappings specified, but user namespace isn't enabled in the config")
        return
    if namespaces["user"] and mapped:
        raise InvalidSpec("$.linux.uidMappings: both a path of a user namespace and mappings are given: choose one")
    if not namespaces["user"]:
        if not mapped:
            raise InvalidSpec("$.linux.uidMappings: user namespaces enabled, but no namespace path to join nor mappings to apply specified")
        if not linux.uid_mappings or not linux.gid_mappings:
            raise InvalidSpec("$.linux.uidMappings: a user namespace needs both uidMappings and gidMappings")
    _mappings(linux.uid_mappings, "$.linux.uidMappings")
    _mappings(linux.gid_mappings, "$.linux.gidMappings")


def _mappings(mappings: tuple[oci.IDMapping, ...], where: str) -> None:
    """user_namespaces(7): no empty range, no overlap, at most 340 lines."""
    if len(mappings) > 340:
        raise InvalidSpec(f"{where}: {len(mappings)} ranges: the kernel takes 340")
    for index, mapping in enumerate(mappings):
        if not mapping.size:
            raise InvalidSpec(f"{where}[{index}].size: must not be 0")
        if max(mapping.container_id, mapping.host_id) + mapping.size > 1 << 32:
            raise InvalidSpec(f"{where}[{index}]: the range runs past the last id")
    for start in ("container_id", "host_id"):
        ranges = sorted((getattr(m, start), m.size) for m in mappings)
        for (first, size), (following, _) in itertools.pairwise(ranges):
            if first + size > following:
                raise InvalidSpec(f"{where}: two ranges overlap at id {following}")


def _names(spec: oci.Spec, namespaces: dict[str, str]) -> None:
    for field, name in (("hostname", spec.hostname), ("domainname", spec.domainname)):
        if name and "uts" not in namespaces:
            raise InvalidSpec(f"$.{field}: unable to set {field} without a private UTS namespace")
        if len(name.encode()) > 64:
            raise InvalidSpec(f"$.{field}: longer than the 64 bytes that the kernel takes")


def _rootless(spec: oci.Spec, linux: oci.Linux, namespaces: dict[str, str]) -> None:
    if "user" not in namespaces:
        raise InvalidSpec("$.linux.namespaces: rootless container requires user namespaces")
    if namespaces["user"]:
        return
    for index, mount in enumerate(spec.mounts):
        for option in mount.options:
            key, equals, value = option.partition("=")
            if not equals or key not in ("uid", "gid") or not value.isdigit():
                continue
            mappings = linux.uid_mappings if key == "uid" else linux.gid_mappings
            if not any(m.container_id <= int(value) < m.container_id + m.size for m in mappings):
                raise InvalidSpec(
                    f"$.mounts[{index}].options: cannot specify {option} mount option for rootless container: that id is not mapped"
                )


# -- mounts, paths, devices, hooks -----------------------------------------------------------------------------------


def _mounts(mounts: tuple[oci.Mount, ...], rootless: bool) -> Iterable[str]:
    warnings = []
    for index, mount in enumerate(mounts):
        where = f"$.mounts[{index}]"
        if not mount.destination:
            raise InvalidSpec(f"{where}.destination: must not be empty")
        if not mount.destination.startswith("/"):
            warnings.append(
                f"{where}.destination: mount {mount.destination}: relative destination path is **deprecated**, using it as relative to /"
            )
        asked = "idmap" in mount.options or "ridmap" in mount.options
        if not (mount.uid_mappings or mount.gid_mappings):
            if asked:
                raise InvalidSpec(f"{where}: id-mapped mounts must have both uid and gid mappings specified")
            continue
        if mount.type != "bind" and not {"bind", "rbind"}.intersection(mount.options):
            raise InvalidSpec(f"{where}: id-mapped mounts are only supported for bind-mounts")
        if rootless:
            raise Unsupported(f"{where}: id-mapped mounts are not supported for rootless containers")
        if not mount.uid_mappings or not mount.gid_mappings:
            raise InvalidSpec(f"{where}: id-mapped mounts must have both uid and gid mappings specified")
        _mappings(mount.uid_mappings, f"{where}.uidMappings")
        _mappings(mount.gid_mappings, f"{where}.gidMappings")
    return warnings


def _paths(linux: oci.Linux, namespaces: dict[str, str]) -> None:
    for field, paths in (("maskedPaths", linux.masked_paths), ("readonlyPaths", linux.readonly_paths)):
        if paths and "mount" not in namespaces:
            raise InvalidSpec(f"$.linux.{field}: unable to restrict sys entries without a private MNT namespace")
        for index, path in enumerate(paths):
            if not path.startswith("/"):
                raise InvalidSpec(f'$.linux.{field}[{index}]: "{path}" must be an absolute path')
    if linux.rootfs_propagation and linux.rootfs_propagation not in PROPAGATIONS:
        raise InvalidSpec(f'$.linux.rootfsPropagation: rootfsPropagation="{linux.rootfs_propagation}" is not supported')


def _devices(linux: oci.Linux) -> None:
    for index, device in enumerate(linux.devices):
        where = f"$.linux.devices[{index}]"
        if device.type not in ("c", "b", "u", "p"):
            raise InvalidSpec(f'{where}.type: invalid device type "{device.type}" (c, b, u or p)')
        if not device.path.startswith("/"):
            raise InvalidSpec(f'{where}.path: "{device.path}" must be an absolute path')
        if not (0 <= device.major < 1 << 12 and 0 <= device.minor < 1 << 20):
            raise InvalidSpec(f"{where}: {device.major}:{device.minor} is not a device number")


def _hooks(hooks: oci.Hooks | None) -> None:
    if hooks is None:
        return
    for field in oci.Hooks.__struct_fields__:
        name = oci.Hooks.__struct_encode_fields__[oci.Hooks.__struct_fields__.index(field)]
        for index, hook in enumerate(getattr(hooks, field)):
            if not hook.path.startswith("/"):
                raise InvalidSpec(f'$.hooks.{name}[{index}].path: "{hook.path}" must be an absolute path')
            if hook.timeout is not None and hook.timeout <= 0:
                raise InvalidSpec(f"$.hooks.{name}[{index}].timeout: must be greater than zero")


# -- sysctl ----------------------------------------------------------------------------------------------------------


def sysctl_key(key: str) -> str:
    """`key` with dots between its parts: as sysctl(8), the first separator says which of "." and "/" separates."""
    first = re.search(r"[./]", key)
    return key.translate({ord("."): "/", ord("/"): "."}) if first and first[0] == "/" else key


def _sysctls(sysctls: dict[str, str], namespaces: dict[str, str]) -> None:
    for written in sysctls:
        key = sysctl_key(written)
        where = f'$.linux.sysctl: sysctl "{key}"'
        if any(part in ("", "/", "//") for part in key.split(".")):  # as a path: empty, "." and ".."
            raise InvalidSpec(f"{where} is not a name of a kernel parameter")
        area, _, name = key.partition(".")
        if (area == "kernel" and name in _IPC_SYSCTLS) or key.startswith("fs.mqueue."):
            if "ipc" not in namespaces:
                raise InvalidSpec(f"{where} is not allowed in the hosts ipc namespace")
        elif area == "net":
            if _is_host_network(namespaces):
                raise InvalidSpec(f"{where} not allowed in host network namespace")
        elif key == "kernel.hostname" and "uts" in namespaces:
            raise InvalidSpec(f'{where} is not allowed as it conflicts with the OCI "hostname" field')
        elif key == "kernel.domainname" and "uts" in namespaces:
            pass
        elif area == "user":
            if "user" not in namespaces:
                raise InvalidSpec(f"{where}: setting ucounts without a user namespace not allowed")
        else:
            raise InvalidSpec(f"{where} is not in a separate kernel namespace")


def _is_host_network(namespaces: dict[str, str]) -> bool:
    path = namespaces.get("network")
    if path is None:
        return True
    if not path:
        return False
    try:
        return os.path.samestat(os.stat("/proc/self/ns/net"), os.stat(path))
    except OSError as error:
        raise InvalidSpec(f"$.linux.namespaces: invalid netns path: {path}: {errno_words(error.errno or 0)}") from None


# -- the rest of linux -----------------------------------------------------------------------------------------------


def _other(linux: oci.Linux) -> None:
    if linux.personality is not None:
        if linux.personality.domain not in ("LINUX", "LINUX32"):
            raise InvalidSpec(f'$.linux.personality.domain: invalid personality domain "{linux.personality.domain}"')
        if linux.personality.flags:
            raise InvalidSpec("$.linux.personality.flags: the specification defines no personality flags")
    if linux.intel_rdt is not None:
        raise Unsupported("$.linux.intelRdt: intelRdt is specified in config, but Intel RDT is not enabled")
    if linux.net_devices:
        raise Unsupported("$.linux.netDevices: moving network devices into a container is not supported")
    limits.validate_memory_policy(linux.memory_policy)
    if "\n" in linux.cgroups_path or ".." in linux.cgroups_path.split("/"):
        raise InvalidSpec(f"$.linux.cgroupsPath: {linux.cgroups_path!r} is not a path of a cgroup")


def _seccomp(policy: oci.LinuxSeccomp) -> None:
    if not policy.default_action and not policy.syscalls:
        return  # means "no policy" to every runtime
    from pyrt.native import seccomp

    seccomp.check(policy)
    notifies = any(rule.action == "SCMP_ACT_NOTIFY" for rule in policy.syscalls)
    if notifies and not policy.listener_path:
        raise InvalidSpec("$.linux.seccomp.listenerPath: SCMP_ACT_NOTIFY needs the path of a listening socket")
    if policy.listener_path and not policy.listener_path.startswith("/"):
        raise InvalidSpec(f'$.linux.seccomp.listenerPath: "{policy.listener_path}" must be an absolute path')
    if policy.listener_metadata and not policy.listener_path:
        raise InvalidSpec("$.linux.seccomp.listenerMetadata: needs listenerPath")

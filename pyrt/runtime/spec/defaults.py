"""What a container gets when nobody says otherwise: Docker's choices for `pyrt run`, runc's template for `spec`.

The lists are facts about Docker (moby, daemon/pkg/oci) and the OCI specification (config-linux.md "Default
Devices"); tests compare them with the profile of the machine's own peers where those are installed.
"""

from __future__ import annotations

import functools
import os

from pyrt.model import oci

OCI_VERSION = "1.2.1"
"""The newest specification that the model covers; what `spec` writes and `features` reports."""

CAPABILITIES: tuple[str, ...] = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)
"""Every capability, at the index of its number (capabilities(7))."""

DEFAULT_CAPABILITIES: tuple[str, ...] = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)
"""Docker's default set."""

TEMPLATE_CAPABILITIES: tuple[str, ...] = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")
"""runc's, for the configuration that `spec` writes."""

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""PATH of a container whose image sets none."""

READONLY_PATHS: tuple[str, ...] = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
"""Docker's read-only paths."""

_MASKED_PATHS: tuple[str, ...] = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)

DEFAULT_NAMESPACES: tuple[str, ...] = ("pid", "network", "ipc", "uts", "mount", "cgroup")

_NO = ("nosuid", "noexec", "nodev")


@functools.cache
def last_capability() -> int:
    """The highest capability number that this kernel knows (/proc/sys/kernel/cap_last_cap); ours where it does not
    say.
    """
    try:
        with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return len(CAPABILITIES) - 1


@functools.cache
def all_capabilities() -> tuple[str, ...]:
    """The capabilities that this kernel knows: what --privileged and --cap-add=ALL mean."""
    return CAPABILITIES[: last_capability() + 1]


@functools.cache
def masked_paths() -> tuple[str, ...]:
    """Docker's masked paths, with each CPU's thermal counters where the machine has them (they leak the neighbours'
    load).
    """
    pattern = "/sys/devices/system/cpu/cpu%d/thermal_throttle"
    if not os.path.exists(pattern % 0):
        return _MASKED_PATHS
    cpus = range(os.cpu_count() or 1)
    return _MASKED_PATHS + tuple(pattern % cpu for cpu in cpus if os.path.exists(pattern % cpu))


def capability_sets(names: tuple[str, ...]) -> oci.LinuxCapabilities:
    """`names` as bounding, permitted and effective set, as Docker does since 20.10.14 (no inheritable, no ambient)."""
    return oci.LinuxCapabilities(bounding=names, effective=names, permitted=names)


def default_mounts(shm_size: int = 64 * 1024 * 1024, *, cgroup: bool = True) -> tuple[oci.Mount, ...]:
    """Docker's mounts below a container's root, in order. `shm_size` in bytes; `cgroup`: /sys/fs/cgroup, read-only."""
    mounts = [
        oci.Mount(destination="/proc", type="proc", source="proc", options=_NO),
        oci.Mount(
            destination="/dev",
            type="tmpfs",
            source="tmpfs",
            options=("nosuid", "strictatime", "mode=755", "size=65536k"),
        ),
        oci.Mount(
            destination="/dev/pts",
            type="devpts",
            source="devpts",
            options=("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        ),
        oci.Mount(destination="/sys", type="sysfs", source="sysfs", options=(*_NO, "ro")),
    ]
    if cgroup:
        mounts.append(oci.Mount(destination="/sys/fs/cgroup", type="cgroup", source="cgroup", options=("ro", *_NO)))
    mounts += [
        oci.Mount(destination="/dev/mqueue", type="mqueue", source="mqueue", options=_NO),
        oci.Mount(destination="/dev/shm", type="tmpfs", source="shm", options=(*_NO, "mode=1777", f"size={shm_size}")),
    ]
    return tuple(mounts)


def _allow(major: int, minor: int) -> oci.LinuxDeviceCgroup:
    return oci.LinuxDeviceCgroup(allow=True, type="c", major=major, minor=minor, access="rwm")


DEVICE_RULES: tuple[oci.LinuxDeviceCgroup, ...] = (
    oci.LinuxDeviceCgroup(allow=False, access="rwm"),
    _allow(1, 5),
    _allow(1, 3),
    _allow(1, 9),
    _allow(1, 8),
    _allow(5, 0),
    _allow(5, 1),
    oci.LinuxDeviceCgroup(allow=False, type="c", major=10, minor=229, access="rwm"),
)
"""Docker's device rules: nothing but zero, null, urandom, random, tty and console (the runtime adds full, ptmx and
ptys).
"""

ALL_DEVICES: tuple[oci.LinuxDeviceCgroup, ...] = (oci.LinuxDeviceCgroup(allow=True, access="rwm"),)
"""Device rules of --privileged."""


def template(*, cgroup_v2: bool = False) -> oci.Spec:
    """The configuration that `spec` writes: runc's choices for a read-only `rootfs` and a shell on a terminal."""
    mounts = tuple(_template_mount(m) for m in default_mounts())
    namespaces = tuple(oci.LinuxNamespace(type=t) for t in DEFAULT_NAMESPACES if t != "cgroup" or cgroup_v2)
    return oci.Spec(
        oci_version=OCI_VERSION,
        root=oci.Root(path="rootfs", readonly=True),
        process=oci.Process(
            terminal=True,
            args=("sh",),
            env=("PATH=" + DEFAULT_PATH, "TERM=xterm"),
            cwd="/",
            no_new_privileges=True,
            capabilities=capability_sets(TEMPLATE_CAPABILITIES),
            rlimits=(oci.Rlimit(type="RLIMIT_NOFILE", hard=1024, soft=1024),),
        ),
        hostname="pyrt",
        mounts=mounts,
        linux=oci.Linux(
            masked_paths=_MASKED_PATHS,
            readonly_paths=READONLY_PATHS,
            resources=oci.LinuxResources(devices=(oci.LinuxDeviceCgroup(allow=False, access="rwm"),)),
            namespaces=namespaces,
        ),
    )


def _template_mount(mount: oci.Mount) -> oci.Mount:
    options = {
        "/proc": (),
        "/dev/shm": (*_NO, "mode=1777", "size=65536k"),
        "/sys/fs/cgroup": (*_NO, "relatime", "ro"),
    }.get(mount.destination, mount.options)
    return oci.Mount(destination=mount.destination, type=mount.type, source=mount.source, options=options)


def rootless(spec: oci.Spec, uid: int, gid: int) -> oci.Spec:
    """`spec` changed so that user `uid` may run it without privileges: a user namespace of one id, the host's network,
    /sys bound from the host, no ids in mount options, no cgroup limits. Same changes as `runc spec --rootless`."""
    linux = spec.linux or oci.Linux()
    kept = tuple(ns for ns in linux.namespaces if ns.type not in ("network", "user"))
    mounts = []
    for mount in spec.mounts:
        if os.path.normpath(mount.destination) == "/sys":
            mounts.append(oci.Mount(destination="/sys", type="none", source="/sys", options=("rbind", *_NO, "ro")))
            continue
        options = tuple(o for o in mount.options if not o.startswith(("uid=", "gid=")))
        mounts.append(oci.Mount(destination=mount.destination, type=mount.type, source=mount.source, options=options))
    changed = oci.Linux(
        masked_paths=linux.masked_paths,
        readonly_paths=linux.readonly_paths,
        namespaces=(*kept, oci.LinuxNamespace(type="user")),
        uid_mappings=(oci.IDMapping(container_id=0, host_id=uid, size=1),),
        gid_mappings=(oci.IDMapping(container_id=0, host_id=gid, size=1),),
    )
    return oci.Spec(
        oci_version=spec.oci_version,
        root=spec.root,
        process=spec.process,
        hostname=spec.hostname,
        mounts=tuple(mounts),
        linux=changed,
    )

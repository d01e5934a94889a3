"""The OCI runtime specification 1.2 as frozen structs (Linux part).

Every struct mirrors one JSON object of the specification (https://github.com/opencontainers/runtime-spec, files
config.md, config-linux.md, runtime.md, features.md): snake_case here, the specification's spelling in JSON. Unknown
fields are passed over, as config.md "Extensibility" demands. Numbers carry the range of the Go type in the
specification, so that a value that does not fit is refused while decoding, with its JSON path. Units are the
specification's: bytes for memory, microseconds for CPU quota, period and burst, nanoseconds where a field says so.

Only shapes live here. `pyrt.runtime.spec.decode` reads them, `pyrt.runtime.spec.validate` checks what they mean.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct, field

U16 = Annotated[int, Meta(ge=0, le=0xFFFF)]
U32 = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]
U64 = Annotated[int, Meta(ge=0)]
I32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
I64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class Oci(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of every struct here: immutable, camelCase in JSON, fields equal to their default left out."""


# -- process ---------------------------------------------------------------------------------------------------------


class Box(Oci, frozen=True):
    """Size of a terminal in characters."""

    height: U32
    width: U32


class User(Oci, frozen=True):
    """Who the process runs as, in the container's user namespace. `umask` None: inherited."""

    uid: U32 = 0
    gid: U32 = 0
    umask: U32 | None = None
    additional_gids: tuple[U32, ...] = ()
    username: str = ""


class LinuxCapabilities(Oci, frozen=True):
    """The five capability sets, by name ("CAP_CHOWN")."""

    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()


class Rlimit(Oci, frozen=True):
    """One POSIX resource limit ("RLIMIT_NOFILE"); 2**64-1 is RLIM_INFINITY."""

    type: str
    hard: U64
    soft: U64


class Scheduler(Oci, frozen=True):
    """sched_setattr(2) of the process: policy "SCHED_…", times in nanoseconds."""

    policy: str
    nice: I32 = 0
    priority: I32 = 0
    flags: tuple[str, ...] = ()
    runtime: U64 = 0
    deadline: U64 = 0
    period: U64 = 0


class IOPriority(Oci, frozen=True):
    """ioprio_set(2) of the process: class "IOPRIO_CLASS_RT|BE|IDLE", priority 0..7."""

    class_: str = field(name="class")
    priority: I32 = 0


class CPUAffinity(Oci, frozen=True):
    """CPU lists ("0-3,7") for an exec'ed process: before and after it has moved to the container's cgroup."""

    initial: str = ""
    final: str = ""


class Process(Oci, frozen=True):
    """What runs in the container (config.md "Process"); `exec --process` reads the same object."""

    cwd: str
    args: tuple[str, ...] = ()
    command_line: str = ""
    env: tuple[str, ...] = ()
    terminal: bool = False
    console_size: Box | None = None
    user: User = User()
    capabilities: LinuxCapabilities | None = None
    rlimits: tuple[Rlimit, ...] = ()
    no_new_privileges: bool = False
    apparmor_profile: str = ""
    selinux_label: str = ""
    oom_score_adj: I32 | None = None
    scheduler: Scheduler | None = None
    io_priority: IOPriority | None = None
    exec_cpu_affinity: CPUAffinity | None = field(name="execCPUAffinity", default=None)


# -- root, mounts, hooks ---------------------------------------------------------------------------------------------


class Root(Oci, frozen=True):
    """The root file system: absolute, or relative to the bundle."""

    path: str
    readonly: bool = False


class IDMapping(Oci, frozen=True):
    """`size` ids from `container_id` on are `host_id`… outside."""

    container_id: U32 = field(name="containerID")
    host_id: U32 = field(name="hostID")
    size: U32


class Mount(Oci, frozen=True):
    """One mount, in order. `options` hold flags, propagation, recursive attributes and data, as in fstab."""

    destination: str
    type: str = ""
    source: str = ""
    options: tuple[str, ...] = ()
    uid_mappings: tuple[IDMapping, ...] = ()
    gid_mappings: tuple[IDMapping, ...] = ()


class Hook(Oci, frozen=True):
    """A program run at one point of the life cycle with the state on its stdin. `timeout` in seconds, None: no
    limit.
    """

    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] | None = None
    timeout: I64 | None = None


class Hooks(Oci, frozen=True):
    """The six lists of hooks, in the order in which they run."""

    prestart: tuple[Hook, ...] = ()
    create_runtime: tuple[Hook, ...] = ()
    create_container: tuple[Hook, ...] = ()
    start_container: tuple[Hook, ...] = ()
    poststart: tuple[Hook, ...] = ()
    poststop: tuple[Hook, ...] = ()


# -- linux: namespaces, devices, kernel settings ---------------------------------------------------------------------


class LinuxNamespace(Oci, frozen=True):
    """A namespace to create, or to join when `path` is set. Types: pid network mount ipc uts user cgroup time."""

    type: str
    path: str = ""


class LinuxDevice(Oci, frozen=True):
    """A device node to make: type c, b, u or p. `file_mode` without the type bits."""

    type: str
    path: str
    major: I64 = 0
    minor: I64 = 0
    file_mode: U32 | None = None
    uid: U32 | None = None
    gid: U32 | None = None


class LinuxTimeOffset(Oci, frozen=True):
    """Offset of one clock in a time namespace."""

    secs: I64 = 0
    nanosecs: U32 = 0


class LinuxPersonality(Oci, frozen=True):
    """personality(2): domain LINUX or LINUX32; the specification defines no flags yet."""

    domain: str
    flags: tuple[str, ...] = ()


class LinuxIntelRdt(Oci, frozen=True):
    """Cache and memory bandwidth allocation through resctrl."""

    clos_id: str = field(name="closID", default="")
    l3_cache_schema: str = field(name="l3CacheSchema", default="")
    mem_bw_schema: str = field(name="memBwSchema", default="")
    enable_cmt: bool = field(name="enableCMT", default=False)
    enable_mbm: bool = field(name="enableMBM", default=False)


class LinuxMemoryPolicy(Oci, frozen=True):
    """set_mempolicy(2) (specification 1.3): mode "MPOL_…", nodes as a list "0-1", flags "MPOL_F_…"."""

    mode: str
    nodes: str = ""
    flags: tuple[str, ...] = ()


class LinuxNetDevice(Oci, frozen=True):
    """A host network device to move into the container (specification 1.3); `name` is its new name there."""

    name: str = ""


# -- linux: resources ------------------------------------------------------------------------------------------------


class LinuxDeviceCgroup(Oci, frozen=True):
    """One rule of the device controller. `type` a, c or b ("" is a); None numbers mean any; access of "rwm"."""

    allow: bool
    type: str = ""
    major: I64 | None = None
    minor: I64 | None = None
    access: str = ""


class LinuxMemory(Oci, frozen=True):
    """Memory limits in bytes; -1 is "no limit"."""

    limit: I64 | None = None
    reservation: I64 | None = None
    swap: I64 | None = None
    kernel: I64 | None = None
    kernel_tcp: I64 | None = field(name="kernelTCP", default=None)
    swappiness: U64 | None = None
    disable_oom_killer: bool | None = field(name="disableOOMKiller", default=None)
    use_hierarchy: bool | None = None
    check_before_update: bool | None = None


class LinuxCPU(Oci, frozen=True):
    """CPU limits: shares as in cgroup v1 (2..262144), quota, burst and periods in microseconds."""

    shares: U64 | None = None
    quota: I64 | None = None
    burst: U64 | None = None
    period: U64 | None = None
    realtime_runtime: I64 | None = None
    realtime_period: U64 | None = None
    cpus: str = ""
    mems: str = ""
    idle: I64 | None = None


class LinuxPids(Oci, frozen=True):
    """Most tasks at a time; 0 or less means no limit."""

    limit: I64


class LinuxWeightDevice(Oci, frozen=True):
    """I/O weight of one block device, 10..1000."""

    major: I64
    minor: I64
    weight: U16 | None = None
    leaf_weight: U16 | None = None


class LinuxThrottleDevice(Oci, frozen=True):
    """Bytes or operations per second of one block device."""

    major: I64
    minor: I64
    rate: U64


class LinuxBlockIO(Oci, frozen=True):
    """Block I/O weights (10..1000) and limits."""

    weight: U16 | None = None
    leaf_weight: U16 | None = None
    weight_device: tuple[LinuxWeightDevice, ...] = ()
    throttle_read_bps_device: tuple[LinuxThrottleDevice, ...] = ()
    throttle_write_bps_device: tuple[LinuxThrottleDevice, ...] = ()
    throttle_read_iops_device: tuple[LinuxThrottleDevice, ...] = field(name="throttleReadIOPSDevice", default=())
    throttle_write_iops_device: tuple[LinuxThrottleDevice, ...] = field(name="throttleWriteIOPSDevice", default=())


class LinuxHugepageLimit(Oci, frozen=True):
    """Bytes of huge pages of one size ("2MB")."""

    page_size: str
    limit: U64


class LinuxInterfacePriority(Oci, frozen=True):
    """Priority of traffic that leaves through one interface (net_prio)."""

    name: str
    priority: U32


class LinuxNetwork(Oci, frozen=True):
    """net_cls class and net_prio priorities (cgroup v1)."""

    class_id: U32 | None = field(name="classID", default=None)
    priorities: tuple[LinuxInterfacePriority, ...] = ()


class LinuxRdma(Oci, frozen=True):
    """Most handles and objects of one RDMA device."""

    hca_handles: U32 | None = None
    hca_objects: U32 | None = None


class LinuxResources(Oci, frozen=True):
    """Everything that cgroups hold the container to; also what `update -r` reads."""

    devices: tuple[LinuxDeviceCgroup, ...] = ()
    memory: LinuxMemory | None = None
    cpu: LinuxCPU | None = None
    pids: LinuxPids | None = None
    block_io: LinuxBlockIO | None = field(name="blockIO", default=None)
    hugepage_limits: tuple[LinuxHugepageLimit, ...] = ()
    network: LinuxNetwork | None = None
    rdma: dict[str, LinuxRdma] = {}
    unified: dict[str, str] = {}


# -- linux: seccomp --------------------------------------------------------------------------------------------------


class LinuxSeccompArg(Oci, frozen=True):
    """A condition on one argument (0..5) of a system call: "SCMP_CMP_…"; `value_two` is the datum of MASKED_EQ."""

    index: U32
    value: U64
    op: str
    value_two: U64 = 0


class LinuxSyscall(Oci, frozen=True):
    """What happens to these system calls, when all `args` hold."""

    names: tuple[str, ...]
    action: str
    errno_ret: U32 | None = None
    args: tuple[LinuxSeccompArg, ...] = ()


class LinuxSeccomp(Oci, frozen=True):
    """A seccomp policy: "SCMP_ACT_…", "SCMP_ARCH_…", "SECCOMP_FILTER_FLAG_…"."""

    default_action: str = ""
    default_errno_ret: U32 | None = None
    architectures: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    listener_path: str = ""
    listener_metadata: str = ""
    syscalls: tuple[LinuxSyscall, ...] = ()


class Linux(Oci, frozen=True):
    """The platform's part of the configuration (config-linux.md)."""

    namespaces: tuple[LinuxNamespace, ...] = ()
    uid_mappings: tuple[IDMapping, ...] = ()
    gid_mappings: tuple[IDMapping, ...] = ()
    time_offsets: dict[str, LinuxTimeOffset] = {}
    devices: tuple[LinuxDevice, ...] = ()
    net_devices: dict[str, LinuxNetDevice] = {}
    cgroups_path: str = ""
    resources: LinuxResources | None = None
    rootfs_propagation: str = ""
    seccomp: LinuxSeccomp | None = None
    sysctl: dict[str, str] = {}
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    mount_label: str = ""
    intel_rdt: LinuxIntelRdt | None = None
    memory_policy: LinuxMemoryPolicy | None = None
    personality: LinuxPersonality | None = None


class Spec(Oci, frozen=True):
    """A bundle's config.json."""

    oci_version: str
    root: Root | None = None
    mounts: tuple[Mount, ...] = ()
    process: Process | None = None
    hostname: str = ""
    domainname: str = ""
    hooks: Hooks | None = None
    annotations: dict[str, str] = {}
    linux: Linux | None = None


# -- state -----------------------------------------------------------------------------------------------------------


class State(Oci, frozen=True):
    """What hooks get on stdin and `state` prints (runtime.md "State"). Status: creating created running stopped."""

    oci_version: str
    id: str
    status: str
    bundle: str
    pid: int = 0
    annotations: dict[str, str] = {}


class ContainerProcessState(Oci, frozen=True):
    """What a seccomp listener gets beside the notification fd (config-linux.md "The Container Process State")."""

    oci_version: str
    fds: tuple[str, ...]
    pid: int
    state: State
    metadata: str = ""


# -- features (features.md, features-linux.md) -----------------------------------------------------------------------


class FeatureEnabled(Oci, frozen=True):
    """A feature that is there or not."""

    enabled: bool | None = None


class FeatureCgroup(Oci, frozen=True):
    """Which cgroup set-ups the runtime can handle."""

    v1: bool | None = None
    v2: bool | None = None
    systemd: bool | None = None
    systemd_user: bool | None = None
    rdma: bool | None = None


class FeatureSeccomp(Oci, frozen=True):
    """What the runtime can compile and load."""

    enabled: bool | None = None
    actions: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    archs: tuple[str, ...] = ()
    known_flags: tuple[str, ...] = ()
    supported_flags: tuple[str, ...] = ()


class FeatureMountExtensions(Oci, frozen=True):
    """Mount abilities beyond options."""

    idmap: FeatureEnabled | None = None


class FeaturesLinux(Oci, frozen=True):
    """The platform's part of the features document."""

    namespaces: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    cgroup: FeatureCgroup | None = None
    seccomp: FeatureSeccomp | None = None
    apparmor: FeatureEnabled | None = None
    selinux: FeatureEnabled | None = None
    intel_rdt: FeatureEnabled | None = None
    mount_extensions: FeatureMountExtensions | None = None


class Features(Oci, frozen=True):
    """What `features` prints."""

    oci_version_min: str
    oci_version_max: str
    hooks: tuple[str, ...] = ()
    mount_options: tuple[str, ...] = ()
    linux: FeaturesLinux | None = None
    annotations: dict[str, str] = {}
    potentially_unsafe_config_annotations: tuple[str, ...] = ()


def to_json(value: Struct, *, indent: int = 0) -> bytes:
    """`value` as JSON in the specification's spelling; `indent` spaces a level, 0 for one line."""
    raw = msgspec.json.encode(value)
    return msgspec.json.format(raw, indent=indent) if indent else raw

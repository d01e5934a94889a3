"""Resources of the specification as settings: which controller's file gets which value, and why.

The same list serves a new container (as ops of its plan) and `update` (written at once). Nothing is left out silently: a
limit that this machine cannot keep raises Unsupported and names what asked for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct

from pyrt.base.errors import InvalidSpec, Unsupported
from pyrt.model import oci
from pyrt.runtime.cgroup import convert
from pyrt.runtime.host import HostFacts

__all__ = ["Setting", "controllers", "settings"]

Why = Callable[[str], str]
_AT = "linux.resources"


class Setting(Struct, frozen=True):
    """One value for one file of one controller (by its v1 name; "" is the v2 core, in any v2 directory).

    ``optional``: the kernel may lack it or refuse it, and the container runs without.
    """

    controller: str
    file: str
    value: str
    why: str
    optional: bool = False


class _Builder:
    """Collects the settings; knows for each controller whether it is v1 or v2 here."""

    def __init__(self, facts: HostFacts, why: Why, asked: Callable[[str], bool]) -> None:
        self.facts = facts
        self.why = why
        self.asked = asked
        self.found: list[Setting] = []

    def is_v2(self, controller: str, path: str) -> bool:
        """Raises Unsupported when nobody has the controller."""
        hierarchy = self.facts.controller(controller)
        if hierarchy is None:
            raise Unsupported(f"{self.why(path)}: {_missing(controller, self.facts)}")
        return hierarchy.v2

    def add(self, controller: str, file: str, value: object, path: str, *, optional: bool = False) -> None:
        self.found.append(Setting(controller, file, str(value), self.why(path), optional))

    def v1_only(self, what: str, path: str) -> Unsupported:
        return Unsupported(f"{self.why(path)}: cgroup v2 has no {what}")


def _missing(controller: str, facts: HostFacts) -> str:
    if facts.mode == "none":
        return "no cgroups are mounted here"
    if facts.mode == "v2" and facts.rootless:
        return f"the cgroup controller {controller!r} is not delegated to this user (systemd: Delegate=yes)"
    return f"this machine has no cgroup controller {controller!r} (cgroups: {facts.mode}; see /proc/cgroups)"


def settings(
    resources: oci.LinuxResources, facts: HostFacts, why: Why = str, asked: Callable[[str], bool] = lambda path: True
) -> list[Setting]:
    """All settings but the device rules, in the order in which they have to be written.

    ``why`` maps a path of the spec to its reason, ``asked`` says whether a person asked for exactly that path. Raises
    Unsupported and InvalidSpec.
    """
    build = _Builder(facts, why, asked)
    if resources.pids is not None:
        _pids(build, resources.pids)
    if resources.memory is not None:
        _memory(build, resources.memory)
    if resources.cpu is not None:
        _cpu(build, resources.cpu)
        _cpuset(build, resources.cpu)
    if resources.block_io is not None:
        _block_io(build, resources.block_io)
    _hugetlb(build, resources.hugepage_limits)
    if resources.network is not None:
        _network(build, resources.network)
    _rdma(build, resources.rdma)
    _unified(build, resources.unified)
    return build.found


def controllers(found: list[Setting]) -> tuple[str, ...]:
    """The controllers that settings need, each once."""
    return tuple(dict.fromkeys(setting.controller for setting in found if setting.controller))


def _limit(value: int, unlimited: str = "max") -> str:
    return unlimited if value < 0 else str(value)


def _pids(build: _Builder, pids: oci.LinuxPids) -> None:
    path = f"{_AT}.pids.limit"
    if pids.limit <= 0 and build.facts.controller("pids") is None:
        return
    build.is_v2("pids", path)
    build.add("pids", "pids.max", pids.limit if pids.limit > 0 else "max", path)


# -- memory ----------------------------------------------------------------------------------------------------------


def _memory(build: _Builder, memory: oci.LinuxMemory) -> None:
    at = f"{_AT}.memory"
    values = (memory.limit, memory.reservation, memory.swap, memory.kernel, memory.kernel_tcp, memory.swappiness)
    if not any(values) and not memory.disable_oom_killer:
        return
    if memory.limit is not None and memory.limit < -1:
        raise InvalidSpec(f"{memory.limit} is no amount of memory", f"{at}.limit")
    first = (
        next(
            name for name, value in zip(("limit", "reservation", "swap", "kernel", "kernelTCP", "swappiness"), values, strict=True) if value
        )
        if any(values)
        else "disableOOMKiller"
    )
    if build.is_v2("memory", f"{at}.{first}"):
        _memory_v2(build, memory, at)
    else:
        _memory_v1(build, memory, at)


def _memory_v2(build: _Builder, memory: oci.LinuxMemory, at: str) -> None:
    if memory.disable_oom_killer:
        raise build.v1_only("switch for the OOM killer", f"{at}.disableOOMKiller")
    if memory.swappiness:
        raise build.v1_only("swappiness of its own for a container", f"{at}.swappiness")
    swap = memory.swap or 0
    if memory.limit == -1 and swap == 0:
        swap = -1  # as v1: no limit of memory means none of swap
    if swap:
        value = convert.memory_swap(swap, memory.limit, f"{at}.swap")
        if value is not None:
            # A kernel without swap accounting lacks the file; docker passes over a limit that is only its default.
            optional = not build.asked(f"{at}.swap") or value < 0
            build.add("memory", "memory.swap.max", _limit(value), f"{at}.swap", optional=optional)
    if memory.limit:
        build.add("memory", "memory.max", _limit(memory.limit), f"{at}.limit")
    if memory.reservation:
        build.add("memory", "memory.low", _limit(memory.reservation), f"{at}.reservation")


def _memory_v1(build: _Builder, memory: oci.LinuxMemory, at: str) -> None:
    if memory.use_hierarchy:
        build.add("memory", "memory.use_hierarchy", 1, f"{at}.useHierarchy", optional=True)
    if memory.limit:
        build.add("memory", "memory.limit_in_bytes", _limit(memory.limit, "-1"), f"{at}.limit")
    swap = memory.swap or (-1 if memory.limit == -1 else 0)
    if swap:
        if 0 < swap < (memory.limit or 0):
            raise InvalidSpec(f"memory plus swap ({swap}) is less than the memory limit ({memory.limit})", f"{at}.swap")
        optional = not build.asked(f"{at}.swap") or not memory.swap
        build.add("memory", "memory.memsw.limit_in_bytes", _limit(swap, "-1"), f"{at}.swap", optional=optional)
    if memory.reservation:
        build.add("memory", "memory.soft_limit_in_bytes", _limit(memory.reservation, "-1"), f"{at}.reservation")
    # config-linux.md: "kernel" is not to be used any more; since 5.16 the kernel does not keep it.
    if memory.kernel:
        build.add("memory", "memory.kmem.limit_in_bytes", _limit(memory.kernel, "-1"), f"{at}.kernel", optional=True)
    if memory.kernel_tcp:
        build.add("memory", "memory.kmem.tcp.limit_in_bytes", _limit(memory.kernel_tcp, "-1"), f"{at}.kernelTCP", optional=True)
    if memory.swappiness is not None:
        if memory.swappiness > 200:
            raise InvalidSpec(f"{memory.swappiness} is not from 0 to 200", f"{at}.swappiness")
        build.add("memory", "memory.swappiness", memory.swappiness, f"{at}.swappiness")
    if memory.disable_oom_killer is not None:
        build.add("memory", "memory.oom_control", int(memory.disable_oom_killer), f"{at}.disableOOMKiller")


# -- cpu -------------------------------------------------------------------------------------------------------------


def _cpu(build: _Builder, cpu: oci.LinuxCPU) -> None:
    at = f"{_AT}.cpu"
    named = {
        "shares": cpu.shares,
        "quota": cpu.quota,
        "period": cpu.period,
        "burst": cpu.burst,
        "realtimeRuntime": cpu.realtime_runtime,
        "realtimePeriod": cpu.realtime_period,
        "idle": cpu.idle,
    }
    first = next((name for name, value in named.items() if value), None)
    if first is None:
        return
    if build.is_v2("cpu", f"{at}.{first}"):
        _cpu_v2(build, cpu, at)
    else:
        _cpu_v1(build, cpu, at)


def _cpu_v2(build: _Builder, cpu: oci.LinuxCPU, at: str) -> None:
    for value, name in ((cpu.realtime_runtime, "realtimeRuntime"), (cpu.realtime_period, "realtimePeriod")):
        if value:
            raise build.v1_only("limit of real-time CPU", f"{at}.{name}")
    if cpu.idle:
        build.add("cpu", "cpu.idle", cpu.idle, f"{at}.idle")
    if cpu.shares and not cpu.idle:
        build.add("cpu", "cpu.weight", convert.cpu_weight(cpu.shares), f"{at}.shares")
    if cpu.quota or cpu.period:
        build.add("cpu", "cpu.max", convert.cpu_max(cpu.quota, cpu.period), f"{at}.{'quota' if cpu.quota else 'period'}")
    if cpu.burst:
        build.add("cpu", "cpu.max.burst", cpu.burst, f"{at}.burst")


def _cpu_v1(build: _Builder, cpu: oci.LinuxCPU, at: str) -> None:
    if cpu.realtime_period:
        build.add("cpu", "cpu.rt_period_us", cpu.realtime_period, f"{at}.realtimePeriod")
    if cpu.realtime_runtime:
        build.add("cpu", "cpu.rt_runtime_us", cpu.realtime_runtime, f"{at}.realtimeRuntime")
    if cpu.idle:
        build.add("cpu", "cpu.idle", cpu.idle, f"{at}.idle")
    if cpu.shares and not cpu.idle:
        build.add("cpu", "cpu.shares", cpu.shares, f"{at}.shares")
    if cpu.period:
        build.add("cpu", "cpu.cfs_period_us", cpu.period, f"{at}.period")
    if cpu.quota:
        build.add("cpu", "cpu.cfs_quota_us", max(cpu.quota, -1), f"{at}.quota")
    if cpu.burst:
        build.add("cpu", "cpu.cfs_burst_us", cpu.burst, f"{at}.burst")


def _cpuset(build: _Builder, cpu: oci.LinuxCPU) -> None:
    for name, value in (("cpus", cpu.cpus), ("mems", cpu.mems)):
        if value:
            path = f"{_AT}.cpu.{name}"
            build.is_v2("cpuset", path)
            build.add("cpuset", f"cpuset.{name}", value, path)


# -- block I/O -------------------------------------------------------------------------------------------------------


def _block_io(build: _Builder, io: oci.LinuxBlockIO) -> None:
    at = f"{_AT}.blockIO"
    throttles = _throttles(io)
    weights = [name for name, value in (("weight", io.weight), ("leafWeight", io.leaf_weight), ("weightDevice", io.weight_device)) if value]
    if not throttles and not weights:
        return
    v2 = build.is_v2("blkio", f"{at}.{weights[0] if weights else throttles[0][0]}")
    for name, value in (("weight", io.weight), ("leafWeight", io.leaf_weight)):
        if value and not 10 <= value <= 1000:
            raise InvalidSpec(f"{value} is not from 10 to 1000", f"{at}.{name}")
    (_weights_v2 if v2 else _weights_v1)(build, io, at)
    for name, v1_file, v2_key, device in throttles:
        where = f"{device.major}:{device.minor}"
        if v2:
            build.add("blkio", "io.max", f"{where} {v2_key}={device.rate or 'max'}", f"{at}.{name}")
        else:
            build.add("blkio", f"blkio.throttle.{v1_file}", f"{where} {device.rate}", f"{at}.{name}")


def _throttles(io: oci.LinuxBlockIO) -> list[tuple[str, str, str, oci.LinuxThrottleDevice]]:
    kinds = (
        ("throttleReadBpsDevice", "read_bps_device", "rbps", io.throttle_read_bps_device),
        ("throttleWriteBpsDevice", "write_bps_device", "wbps", io.throttle_write_bps_device),
        ("throttleReadIOPSDevice", "read_iops_device", "riops", io.throttle_read_iops_device),
        ("throttleWriteIOPSDevice", "write_iops_device", "wiops", io.throttle_write_iops_device),
    )
    return [(name, v1_file, v2_key, device) for name, v1_file, v2_key, devices in kinds for device in devices]


def _weights_v2(build: _Builder, io: oci.LinuxBlockIO, at: str) -> None:
    if io.leaf_weight:
        raise build.v1_only("leaf weight", f"{at}.leafWeight")
    # BFQ has a file of its own, iocost the general one; a kernel has either, both or none.
    if io.weight:
        build.add("blkio", "io.bfq.weight", io.weight, f"{at}.weight", optional=True)
        build.add("blkio", "io.weight", f"default {convert.io_weight(io.weight)}", f"{at}.weight", optional=True)
    for device in io.weight_device:
        where = f"{device.major}:{device.minor}"
        if device.leaf_weight:
            raise build.v1_only("leaf weight", f"{at}.weightDevice")
        if device.weight:
            build.add("blkio", "io.bfq.weight", f"{where} {device.weight}", f"{at}.weightDevice", optional=True)
            build.add("blkio", "io.weight", f"{where} {convert.io_weight(device.weight)}", f"{at}.weightDevice", optional=True)


def _weights_v1(build: _Builder, io: oci.LinuxBlockIO, at: str) -> None:
    # CFQ, and with it blkio.weight and leaf weights, left the kernel in 5.0; BFQ has weights of its own.
    bfq = "bfq." if build.facts.kernel >= (5, 0) else ""
    if bfq and (io.leaf_weight or any(device.leaf_weight for device in io.weight_device)):
        raise Unsupported(f"{build.why(f'{at}.leafWeight')}: leaf weights left the kernel in Linux 5.0")
    if io.weight:
        build.add("blkio", f"blkio.{bfq}weight", io.weight, f"{at}.weight")
    if io.leaf_weight:
        build.add("blkio", "blkio.leaf_weight", io.leaf_weight, f"{at}.leafWeight")
    for device in io.weight_device:
        where = f"{device.major}:{device.minor}"
        if device.weight:
            build.add("blkio", f"blkio.{bfq}weight_device", f"{where} {device.weight}", f"{at}.weightDevice")
        if device.leaf_weight:
            build.add("blkio", "blkio.leaf_weight_device", f"{where} {device.leaf_weight}", f"{at}.weightDevice")


# -- others ----------------------------------------------------------------------------------------------------------


def _hugetlb(build: _Builder, limits: tuple[oci.LinuxHugepageLimit, ...]) -> None:
    for index, limit in enumerate(limits):
        path = f"{_AT}.hugepageLimits[{index}]"
        size = limit.page_size
        if not size or "/" in size or "." in size:
            raise InvalidSpec(f"{size!r} is no size of huge pages, as 2MB", f"{path}.pageSize")
        name = "max" if build.is_v2("hugetlb", path) else "limit_in_bytes"
        build.add("hugetlb", f"hugetlb.{size}.{name}", limit.limit, path)
        build.add("hugetlb", f"hugetlb.{size}.rsvd.{name}", limit.limit, path, optional=True)


def _network(build: _Builder, network: oci.LinuxNetwork) -> None:
    at = f"{_AT}.network"
    if network.class_id:
        if build.is_v2("net_cls", f"{at}.classID"):
            raise build.v1_only("network classes", f"{at}.classID")
        build.add("net_cls", "net_cls.classid", network.class_id, f"{at}.classID")
    for index, entry in enumerate(network.priorities):
        path = f"{at}.priorities[{index}]"
        build.is_v2("net_prio", path)
        build.add("net_prio", "net_prio.ifpriomap", f"{entry.name} {entry.priority}", path)


def _rdma(build: _Builder, rdma: dict[str, oci.LinuxRdma]) -> None:
    for device, limit in rdma.items():
        path = f"{_AT}.rdma.{device}"
        build.is_v2("rdma", path)
        words = [device]
        if limit.hca_handles is not None:
            words.append(f"hca_handle={limit.hca_handles}")
        if limit.hca_objects is not None:
            words.append(f"hca_object={limit.hca_objects}")
        build.add("rdma", "rdma.max", " ".join(words), path)


def _unified(build: _Builder, unified: dict[str, str]) -> None:
    for key, value in unified.items():
        path = f"{_AT}.unified.{key}"
        for line in _unified_lines(build, key, value, path):
            build.found.append(line)


def _unified_lines(build: _Builder, key: str, value: str, path: str) -> Iterator[Setting]:
    facts = build.facts
    if "/" in key or "." not in key or key.startswith("."):
        raise InvalidSpec(f"{key!r} is no file of a cgroup", path)
    controller = key.partition(".")[0]
    if facts.unified is None:
        raise Unsupported(f"{build.why(path)}: invalid configuration: this machine has no cgroup v2")
    if controller == "cgroup":
        controller = ""
    elif controller not in facts.v2_controllers:
        raise Unsupported(f"{build.why(path)}: invalid configuration: cgroup v2 has no controller {controller!r} here")
    # Files as io.max take one device at a time.
    for line in value.split("\n"):
        if line.strip():
            yield Setting(controller, key, line, build.why(path))

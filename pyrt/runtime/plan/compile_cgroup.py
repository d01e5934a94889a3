"""The container's cgroups: made and set before the clone, entered by it, read and emptied after the end."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct, field

from pyrt import native as n
from pyrt.base.errors import Unsupported
from pyrt.model import oci
from pyrt.runtime.cgroup.layout import Layout, container_path, place
from pyrt.runtime.cgroup.settings import Setting, controllers, settings
from pyrt.runtime.devices_bpf import Rule, allows_everything, program, rules_of, v1_lines
from pyrt.runtime.host import HostFacts
from pyrt.runtime.plan import ops
from pyrt.runtime.plan.build import Build
from pyrt.runtime.plan.ops import Op

__all__ = ["Cgroups", "compile_cgroups"]

_AT = "linux.resources"


class Cgroups(Struct, frozen=True):
    """Where they are; the slot of the v2 directory for the clone; ops with which the child enters v1 ones."""

    layout: Layout = field(default_factory=Layout)
    slot: int | None = None
    attach: tuple[Op, ...] = ()


def compile_cgroups(build: Build) -> Cgroups:
    """Appends the host's part to the plan. Raises Unsupported for limits that cannot be kept here."""
    resources = build.linux.resources or oci.LinuxResources()
    limits = settings(resources, build.facts, build.why, build.why.asked)
    rules = _device_rules(build, resources)
    if not _possible(build):
        if limits:
            raise Unsupported(f"{limits[0].why}: {_no_cgroups(build.facts)}")
        return Cgroups()
    needed = controllers(limits)
    bpf = _by_program(build)
    only_needed = build.opt.controllers == "needed"
    if only_needed:
        if rules and not bpf:
            needed = (*needed, "devices")
        layout = place(build.facts, _path(build), needed)
    else:
        layout = place(build.facts, _path(build))
    _make(build, layout, needed, only_needed)
    for setting in limits:
        build.before.append(_write(layout, setting))
    _devices(build, layout, rules, bpf)
    _after_end(build, layout)
    slot = None
    if layout.v2:
        slot = build.new_slot()
        build.before.append(ops.cgroup_open(layout.v2, slot, _path_why(build)))
    return Cgroups(layout, slot, tuple(ops.cgroup_attach(path, _path_why(build)) for path in layout.v1))


def _path(build: Build) -> str:
    if build.opt.cgroup_path is not None:
        return build.opt.cgroup_path
    return container_path(build.facts, build.linux.cgroups_path, build.opt.id)


def _path_why(build: Build) -> str:
    return build.why("linux.cgroupsPath") if build.linux.cgroups_path else "default"


def _possible(build: Build) -> bool:
    return build.facts.cgroup_writable and build.opt.cgroup_path != "" and bool(build.facts.hierarchies)


def _no_cgroups(facts: HostFacts) -> str:
    if facts.mode == "none":
        return "no cgroups are mounted here"
    if facts.euid != 0:
        return "this user cannot make cgroups: limits need cgroup v2 with a cgroup that systemd has delegated, or root"
    return "cgroups are mounted read-only here"


def _make(build: Build, layout: Layout, needed: tuple[str, ...], only_needed: bool) -> None:
    facts = build.facts
    v2_names = {"blkio": "io", "cpuacct": "cpu"}
    wanted = {v2_names.get(name, name) for name in needed}
    if build.opt.usage:
        wanted |= {"memory", "pids"}
    for hierarchy, path in layout.entries:
        if hierarchy.v2:
            enable = [name for name in facts.v2_controllers if name in wanted or not only_needed]
            top = hierarchy.mount
            if facts.euid != 0 and hierarchy.own:
                top = hierarchy.own.rpartition("/")[0]
            op = ops.cgroup_mkdir(path, exclusive=only_needed, enable=enable, mount=top, why=_path_why(build))
        else:
            cpuset = "cpuset" in hierarchy.controllers
            op = ops.cgroup_mkdir(path, exclusive=only_needed, cpuset_v1=cpuset, why=_path_why(build))
        build.before.append(op)


def _write(layout: Layout, setting: Setting) -> Op:
    if setting.controller:
        found = layout.controller(setting.controller)
        directory = found[0] if found else layout.v2
    else:
        directory = layout.v2
    op = ops.write(f"{directory}/{setting.file}", setting.value, setting.why)
    return op.optional() if setting.optional else op


# -- devices ---------------------------------------------------------------------------------------------------------


def _device_rules(build: Build, resources: oci.LinuxResources) -> tuple[Rule, ...]:
    """Empty when nothing is denied, or when this user cannot deny anything (and cannot make devices either)."""
    rules = rules_of(resources.devices)
    return () if build.facts.rootless or allows_everything(rules) else rules


def _by_program(build: Build) -> bool:
    """BPF where there is v2; beside v1's controller of devices only when its directory would be made for nothing else."""
    facts = build.facts
    if facts.unified is None:
        return False
    return facts.mode == "v2" or build.opt.controllers == "needed" or facts.controller("devices") is None


def _devices(build: Build, layout: Layout, rules: tuple[Rule, ...], bpf: bool) -> None:
    if not rules:
        return
    why = build.why(f"{_AT}.devices")
    if bpf:
        code = program(rules)
        if code is not None:
            build.before.append(ops.cgroup_devices(layout.v2, code, why, slot=build.opt.device_slot))
        return
    found = layout.controller("devices")
    if found is None:
        raise Unsupported(f"{why}: this machine has neither cgroup v2 nor the controller 'devices', so devices cannot be denied")
    for file, line in v1_lines(rules):
        build.before.append(ops.write(f"{found[0]}/{file}", line, why))


# -- the end ---------------------------------------------------------------------------------------------------------


def _after_end(build: Build, layout: Layout) -> None:
    if not build.has_namespace("pid"):
        # Without a pid namespace the init's end does not take the others along. One hierarchy has them all.
        build.at_exit.append(ops.cgroup_kill(layout.directories[0], build.why("linux.namespaces")).at_exit())
    if build.opt.usage:
        build.at_exit += usage_ops(layout)


def usage_ops(layout: Layout) -> list[Op]:
    """Reads what was used from wherever it stands."""
    found: list[Op] = []
    _cpu_usage(layout, found.append)
    _memory_usage(layout, found.append)
    pids = layout.controller("pids")
    if pids:
        found.append(ops.usage(f"{pids[0]}/pids.peak", n.USAGE_PIDS_PEAK))
    io = layout.controller("blkio")
    if io and io[1]:
        found.append(ops.usage(f"{io[0]}/io.stat", n.USAGE_IO_READ, "rbytes"))
        found.append(ops.usage(f"{io[0]}/io.stat", n.USAGE_IO_WRITE, "wbytes"))
    elif io:
        file = f"{io[0]}/blkio.throttle.io_service_bytes_recursive"
        found.append(ops.usage(file, n.USAGE_IO_READ, "Read"))
        found.append(ops.usage(file, n.USAGE_IO_WRITE, "Write"))
    return found


def _cpu_usage(layout: Layout, add: Callable[[Op], None]) -> None:
    if layout.v2:  # cpu.stat is there without the controller, too
        file = f"{layout.v2}/cpu.stat"
        add(ops.usage(file, n.USAGE_CPU_NS, "usage_usec", 1000))
        add(ops.usage(file, n.USAGE_CPU_USER_NS, "user_usec", 1000))
        add(ops.usage(file, n.USAGE_CPU_SYSTEM_NS, "system_usec", 1000))
        return
    account = layout.controller("cpuacct")
    if account:
        add(ops.usage(f"{account[0]}/cpuacct.usage", n.USAGE_CPU_NS))
        add(ops.usage(f"{account[0]}/cpuacct.usage_user", n.USAGE_CPU_USER_NS))
        add(ops.usage(f"{account[0]}/cpuacct.usage_sys", n.USAGE_CPU_SYSTEM_NS))


def _memory_usage(layout: Layout, add: Callable[[Op], None]) -> None:
    memory = layout.controller("memory")
    if memory and memory[1]:
        add(ops.usage(f"{memory[0]}/memory.peak", n.USAGE_MEMORY_PEAK))
        add(ops.usage(f"{memory[0]}/memory.events", n.USAGE_OOM_KILLS, "oom_kill"))
    elif memory:
        add(ops.usage(f"{memory[0]}/memory.max_usage_in_bytes", n.USAGE_MEMORY_PEAK))
        add(ops.usage(f"{memory[0]}/memory.oom_control", n.USAGE_OOM_KILLS, "oom_kill"))

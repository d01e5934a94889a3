"""The compiler's doors: a spec and the machine's facts become a plan.

Compiling changes nothing, and the same input gives the same plan. What it reads beside its arguments is little: owner and
mode of an overlay's lower directories, and the home directory of a user whose environment has no HOME.
"""

from __future__ import annotations

import msgspec

from pyrt import native
from pyrt.base.errors import InvalidSpec, Unsupported
from pyrt.base.inroot import read_in_root
from pyrt.model import oci
from pyrt.runtime.host import HostFacts
from pyrt.runtime.plan import constants as k
from pyrt.runtime.plan import ops
from pyrt.runtime.plan.beside import network_beside
from pyrt.runtime.plan.build import Build
from pyrt.runtime.plan.compile_cgroup import Cgroups, compile_cgroups
from pyrt.runtime.plan.compile_dev import compile_console, compile_devices, compile_hidden
from pyrt.runtime.plan.compile_limits import raise_limits
from pyrt.runtime.plan.compile_mounts import compile_mounts, compile_readonly
from pyrt.runtime.plan.compile_namespaces import Identity, compile_turn, join, protect
from pyrt.runtime.plan.compile_process import compile_process, environment, hooks
from pyrt.runtime.plan.compile_root import compile_pivot, compile_root, container_root, working_directory
from pyrt.runtime.plan.ops import Plan
from pyrt.runtime.plan.options import CompileOptions, JoinTarget

__all__ = ["CompileOptions", "JoinTarget", "compile_create", "compile_exec"]


def compile_create(spec: oci.Spec, facts: HostFacts, opt: CompileOptions) -> Plan:
    """The plan of a new container.

    The spec is taken to be valid (`pyrt.runtime.spec.validate`). Raises Unsupported for what this machine or user cannot
    do, InvalidSpec for what makes no sense.
    """
    process = spec.process
    if process is None:
        raise InvalidSpec("the process is missing", "process")
    build = Build(spec, facts, opt)
    _unsupported(build, process)
    cgroups = compile_cgroups(build)
    identity = compile_turn(build, cgroups)
    _names(build)
    _file_systems(build, process, cgroups, identity)
    process = _with_home(process, container_root(build))
    compile_process(build, process, identity, new=True)
    network_beside(build)
    return build.plan()


def _file_systems(build: Build, process: oci.Process, cgroups: Cgroups, identity: Identity) -> None:
    compile_root(build)
    readonly = compile_mounts(build, cgroups, identity)
    compile_devices(build)
    working_directory(build, process.cwd)
    hooks(build, "prestart", "created")  # runc: the namespaces are there by then
    hooks(build, "createRuntime", "creating")
    if build.spec.hooks is not None and build.spec.hooks.create_container:
        build.after.append(ops.cwd(_root_now(build), build.why("hooks.createContainer")))  # as runc: they start in the root
    hooks(build, "createContainer", "creating")
    _sysctls(build)
    compile_console(build, process, new=True)
    compile_hidden(build)
    compile_readonly(build, readonly)
    compile_pivot(build)


def _root_now(build: Build) -> str:
    """Where the root stands before the pivot."""
    return next(str(op.s[0]) for op in reversed(build.after) if op.code == native.OP_ROOT)


def _names(build: Build) -> None:
    """What belongs to the uts and network namespaces."""
    spec = build.spec
    if spec.hostname:
        build.after.append(ops.hostname(spec.hostname, build.why("hostname")))
    if spec.domainname:
        build.after.append(ops.domainname(spec.domainname, build.why("domainname")))
    if build.new_namespaces() & k.CLONE_NEWNET:
        build.after.append(ops.loopback("default"))


def _sysctls(build: Build) -> None:
    for key, value in build.linux.sysctl.items():
        build.after.append(ops.sysctl(sysctl_path(key), value, build.why(f"linux.sysctl.{key}")))


def sysctl_path(key: str) -> str:
    """The path below /proc/sys. The first separator says whether dots or slashes separate (sysctl.d(5))."""
    slash, dot = key.find("/"), key.find(".")
    if slash >= 0 and (dot < 0 or slash < dot):
        return key
    return key.translate(str.maketrans("./", "/."))


def _unsupported(build: Build, process: oci.Process) -> None:
    """Fields that no op serves: said, not passed over."""
    if build.linux.intel_rdt is not None:
        raise Unsupported(f"{build.why('linux.intelRdt')}: resctrl is not supported")
    if build.linux.net_devices:
        raise Unsupported(f"{build.why('linux.netDevices')}: moving network devices into the container is not supported")
    _no_affinity(build, process)
    if not process.args and process.command_line:
        raise InvalidSpec("commandLine is for Windows: Linux wants args", "process.commandLine")


def _no_affinity(build: Build, process: oci.Process) -> None:
    if process.exec_cpu_affinity is not None:
        raise Unsupported(f"{build.why('process.execCPUAffinity')}: CPU affinity of processes is not supported; cpuset limits are")


def _with_home(process: oci.Process, root: str) -> oci.Process:
    """HOME from the container's /etc/passwd, as runc and crun set it where the environment has none."""
    if environment(process.env, "HOME") is not None:
        return process
    return msgspec.structs.replace(process, env=(*process.env, f"HOME={_home_of(process.user.uid, root)}"))


def _home_of(uid: int, root: str) -> str:
    try:
        raw = read_in_root(root, "/etc/passwd")
    except OSError:
        raw = None
    for line in (raw or b"").split(b"\n"):
        fields = line.split(b":")
        if len(fields) >= 6 and fields[2] == b"%d" % uid and fields[5]:
            return fields[5].decode("utf-8", "surrogateescape")
    return "/"


def compile_exec(process: oci.Process, spec: oci.Spec, target: JoinTarget, facts: HostFacts, opt: CompileOptions) -> Plan:
    """The plan of one more process in a running container. `spec` is the container's, for its seccomp and personality."""
    build = Build(spec, facts, opt)
    slot = None
    if target.cgroup_v2:
        slot = build.new_slot()
        build.before.append(ops.cgroup_open(target.cgroup_v2, slot, "exec"))
    again = "pid" in target.namespaces
    build.after.append(ops.clone(0, slot, "exec"))
    for path in target.cgroups:
        build.after.append(ops.cgroup_attach(path, "exec"))
    raise_limits(build, process)  # while it is still the caller's: in the container it may have lost the right to
    paths = {kind: f"/proc/{target.pid}/ns/{k.NAMESPACE_FILES[kind]}" for kind in target.namespaces}
    join(build, paths)
    if again:
        build.after.append(ops.clone(0, None, "exec", again=True))
    inside_userns = "user" in target.namespaces
    identity = Identity(joined=inside_userns, setgroups=not inside_userns or _setgroups_allowed(target.pid))
    protect(build)
    if inside_userns:
        build.after.append(ops.setid(0, 0, (), "exec", keep_groups=True))
    compile_console(build, process, new=False)
    process = _with_home(process, f"/proc/{target.pid}/root")
    compile_process(build, process, identity, new=False)
    return build.plan()


def _setgroups_allowed(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/setgroups", encoding="ascii") as file:
            return not file.read().startswith("deny")
    except OSError:
        return True

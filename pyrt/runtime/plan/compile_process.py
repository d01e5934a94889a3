"""From a process in its new root to the container's program: rights given up in the one order that works, then exec."""

from __future__ import annotations

import functools
import posixpath

from pyrt.base.errors import InvalidSpec, Unsupported
from pyrt.model import oci
from pyrt.runtime.plan import constants as k
from pyrt.runtime.plan import ops
from pyrt.runtime.plan.build import Build, state_json
from pyrt.runtime.plan.compile_limits import compile_scheduling, final_limits
from pyrt.runtime.plan.compile_namespaces import Identity
from pyrt.runtime.spec.defaults import CAPABILITIES, DEFAULT_PATH

__all__ = ["compile_process", "environment"]

_DEFAULT_UMASK = 0o022
_MAX_HOOK_SECONDS = 1 << 31


def compile_process(build: Build, process: oci.Process, identity: Identity, *, new: bool) -> None:
    """Everything after the root is /. ``new``: the first process of a container, not an exec.

    What runs after a seccomp filter runs under the container's own policy, so as much as can be stands before it.
    """
    add = build.after.append
    compile_scheduling(build, process)
    if build.linux.personality is not None:
        add(ops.personality(_personality(build.linux.personality), build.why("linux.personality")))
    if not build.opt.no_new_keyring:
        add(ops.keyring(f"_ses.{build.opt.id}", "default"))
    _labels(build, process)
    umask = process.user.umask
    add(ops.umask(_DEFAULT_UMASK if umask is None else umask, build.why("process.user.umask") if umask is not None else "default"))
    if process.no_new_privileges:
        add(ops.no_new_privs(build.why("process.noNewPrivileges")))
    _rights(build, process, identity)
    _program(build, process, new)


def _personality(personality: oci.LinuxPersonality) -> int:
    number = k.PERSONALITIES.get(personality.domain)
    if number is None:
        raise InvalidSpec(f"{personality.domain!r} is none of {', '.join(k.PERSONALITIES)}", "linux.personality.domain")
    return number


def _labels(build: Build, process: oci.Process) -> None:
    if process.apparmor_profile:
        if "apparmor" not in build.facts.lsms:
            raise Unsupported(f"{build.why('process.apparmorProfile')}: AppArmor is not enabled in this kernel")
        build.after.append(ops.apparmor(process.apparmor_profile, build.why("process.apparmorProfile")))
    if process.selinux_label:
        if "selinux" not in build.facts.lsms:
            raise Unsupported(f"{build.why('process.selinuxLabel')}: SELinux is not enabled in this kernel")
        build.after.append(ops.selinux(process.selinux_label, build.why("process.selinuxLabel")))


# -- capabilities and ids --------------------------------------------------------------------------------------------

_NUMBERS = {name: number for number, name in enumerate(CAPABILITIES)}


@functools.lru_cache(maxsize=256)
def capability_mask(names: tuple[str, ...]) -> int:
    """Bits of capabilities; names that nobody knows are the validator's business."""
    mask = 0
    for name in names:
        number = _NUMBERS.get(name)
        if number is not None:
            mask |= 1 << number
    return mask


def _rights(build: Build, process: oci.Process, identity: Identity) -> None:
    """Bounding set first, which needs CAP_SETPCAP; directory while still everything can be entered; ids; then the four sets.
    Without no_new_privs only root of the namespace may load a filter, so that goes before the ids."""
    add, opt = build.after.append, build.opt
    sets = process.capabilities or oci.LinuxCapabilities()
    why = build.why("process.capabilities") if process.capabilities is not None else "default"
    add(ops.cap_bounding(capability_mask(sets.bounding), why))
    add(ops.cwd(posixpath.normpath(process.cwd).replace("//", "/"), build.why("process.cwd")))
    add(ops.fds(opt.preserve_fds, opt.fd_base_slot, "--preserve-fds" if opt.preserve_fds else "default"))
    if not process.no_new_privileges:
        _seccomp(build)
    user = process.user
    if user.additional_gids and not identity.setgroups:
        path = build.why("process.user.additionalGids")
        raise Unsupported(f"{path}: supplementary groups need newgidmap and a range in /etc/subgid for this user")
    add(ops.setid(user.uid, user.gid, user.additional_gids, build.why("process.user"), keep_groups=not identity.setgroups))
    masks = [capability_mask(names) for names in (sets.effective, sets.permitted, sets.inheritable, sets.ambient)]
    add(ops.caps(masks[0], masks[1], masks[2], masks[3], why))


# -- seccomp ---------------------------------------------------------------------------------------------------------


def _seccomp(build: Build) -> None:
    program = build.opt.seccomp_bpf
    if not program:
        return
    why = build.why("linux.seccomp")
    policy = build.linux.seccomp
    if policy is None or not policy.listener_path:
        build.after.append(ops.seccomp(program, build.opt.seccomp_flags, why))
        return
    slot = build.new_slot()
    build.before.append(ops.connect(policy.listener_path, slot, build.why("linux.seccomp.listenerPath")))
    build.after.append(ops.seccomp(program, build.opt.seccomp_flags, why, listener_slot=slot, state=_listener_state(build, policy)))


def _listener_state(build: Build, policy: oci.LinuxSeccomp) -> tuple[str, str, str]:
    """The container process state (config-linux.md), split at its two pids."""
    import json

    head = json.dumps({"ociVersion": build.spec.oci_version, "fds": ["seccompFd"]})[:-1] + ', "pid": '
    state_head, state_tail = state_json(build.spec, build.opt.id, build.opt.bundle, "creating")
    metadata = f', "metadata": {json.dumps(policy.listener_metadata)}' if policy.listener_metadata else ""
    return head, metadata + ', "state": ' + state_head, state_tail + "}"


# -- the program -----------------------------------------------------------------------------------------------------


def environment(env: tuple[str, ...], name: str) -> str | None:
    """A variable's value; the last one wins."""
    prefix = name + "="
    for item in reversed(env):
        if item.startswith(prefix):
            return item[len(prefix) :]
    return None


def _program(build: Build, process: oci.Process, new: bool) -> None:
    add, opt = build.after.append, build.opt
    if not process.args:
        raise InvalidSpec("there is no command", "process.args")
    path = environment(process.env, "PATH")
    add(ops.find_exec(process.args[0], DEFAULT_PATH if path is None else path, build.why("process.args")))
    late_filter = process.no_new_privileges
    listener = build.linux.seccomp is not None and bool(build.linux.seccomp.listener_path)
    if late_filter and listener:
        _seccomp(build)  # its agent belongs to `create`
        late_filter = False
    if opt.gate_socket:
        slot = build.new_slot()
        build.before.append(ops.listen(opt.gate_socket, slot, "create"))
        add(ops.gate(slot, "create"))
    if new:
        hooks(build, "startContainer", "created")
    final_limits(build, process)
    if late_filter:
        _seccomp(build)
    if opt.init:
        add(ops.init("--init"))
    add(ops.execve(process.args, process.env, build.why("process.args")))


# -- hooks -----------------------------------------------------------------------------------------------------------


def hooks(build: Build, kind: str, status: str) -> None:
    """One of the lists of hooks that run while a container is made; host side but for createContainer and startContainer."""
    if build.spec.hooks is None:
        return
    lists = {
        "prestart": build.spec.hooks.prestart,
        "createRuntime": build.spec.hooks.create_runtime,
        "createContainer": build.spec.hooks.create_container,
        "startContainer": build.spec.hooks.start_container,
    }
    entries = lists[kind]
    if not entries:
        return
    before_pid, after_pid = state_json(build.spec, build.opt.id, build.opt.bundle, status)
    host = kind in ("prestart", "createRuntime")
    for index, hook in enumerate(entries):
        timeout = min(max(hook.timeout or 0, 0), _MAX_HOOK_SECONDS)
        why = build.why(f"hooks.{kind}[{index}]")
        args = hook.args or (hook.path,)
        build.after.append(ops.hook(hook.path, args, hook.env or (), timeout, before_pid, after_pid, why, host=host))

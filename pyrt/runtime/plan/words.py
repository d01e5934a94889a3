"""What an op does, in the words of people who know containers; the same for `explain`, `--trace` and error messages."""

from __future__ import annotations

import signal
import struct
from collections.abc import Callable

from pyrt import native as n
from pyrt.runtime.plan import constants as k
from pyrt.runtime.plan.ops import Op, Text
from pyrt.runtime.spec.defaults import CAPABILITIES

__all__ = ["words"]

_TEXT_LIMIT = 60
_USAGE = (
    "CPU time",
    "user CPU time",
    "system CPU time",
    "peak of memory",
    "out-of-memory kills",
    "most processes",
    "bytes read",
    "bytes written",
)


def words(op: Op) -> str:
    """One line without a full stop, as "mount overlay on / ro"; "op N" for a code that no op has."""
    say = _SAY.get(op.code)
    return say(op) if say else f"op {op.code}"


def _s(op: Op, index: int) -> str:
    if index >= len(op.s):
        return ""
    return _text(op.s[index])


def _n(op: Op, index: int) -> int:
    return op.n[index] if index < len(op.n) else 0


def _text(text: Text) -> str:
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else text


def _list(op: Op, index: int) -> list[str]:
    text = _s(op, index)
    return text[:-1].split("\0") if text else []


def _short(text: str) -> str:
    text = text.rstrip("\n").replace("\n", " | ").replace("\0", "\\0")
    return text if len(text) <= _TEXT_LIMIT else text[: _TEXT_LIMIT - 1] + "…"


def _quoted(words_: list[str]) -> str:
    return _short(" ".join(word if word and not set(word) & set(" \t\n'\"\\$`") else repr(word) for word in words_))


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _flags(flags: int) -> str:
    return ",".join(k.bit_names(flags, k.MOUNT_FLAGS))


def _spread(flags: int) -> str:
    name = ",".join(k.bit_names(flags & ~k.MS_REC, k.MOUNT_FLAGS))
    return ("r" if flags & k.MS_REC and name else "") + name


def _and(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _namespaces(flags: int) -> str:
    return " ".join(k.bit_names(flags, k.CLONE_NAMES))


def _capabilities(mask: int) -> str:
    names = [name for number, name in enumerate(CAPABILITIES) if mask >> number & 1]
    if not mask:
        return "none"
    if len(names) >= len(CAPABILITIES) - 1:
        return "all" if len(names) == len(CAPABILITIES) else "all but " + next(c for c in CAPABILITIES if c not in names)
    return " ".join(name[4:].lower() for name in names)


def _in_root(op: Op, place: int) -> str:
    return "" if _n(op, place) == n.AT_ROOT else " (host)"


def _cgroup_mkdir(op: Op) -> str:
    enable = [name.lstrip("+") for name in _list(op, 1)]
    return _and(f"make cgroup {_s(op, 0)}", f"with {' '.join(enable)}" if enable else "")


def _cgroup_devices(op: Op) -> str:
    return f"device program of {_n(op, 0) // 8} instructions on cgroup {_s(op, 0)}"


def _write(op: Op) -> str:
    path, data = _s(op, 0), _short(_s(op, 1))
    return f"write {path} {'(new) ' if _n(op, 1) & 1 else ''}= {data}" if data else f"write nothing to {path}"


def _usage(op: Op) -> str:
    kind = _n(op, 0)
    what = _USAGE[kind] if kind < len(_USAGE) else f"usage {kind}"
    return _and(f"read {what} from {_s(op, 0)}", _s(op, 1))


def _open_tree(op: Op) -> str:
    extra = "with its mounts below" if _n(op, 0) else ""
    idmap = "idmapped" if _n(op, 2) != n.NO_SLOT else ""
    return _and(f"take {_s(op, 0)}", extra, idmap, ",".join(k.bit_names(_n(op, 3), k.MOUNT_ATTRS)), f"into slot {_n(op, 1)}")


def _idmap(op: Op) -> str:
    return f"user namespace of {_s(op, 2)}" if _s(op, 2) else f"user namespace for idmap {_short(_s(op, 0))}"


def _userns_map(op: Op) -> str:
    helper = f" through {_s(op, 1)}" if _s(op, 1) else ""
    deny = " (setgroups denied)" if _n(op, 1) & 1 else ""
    return f"map {'gids' if _n(op, 0) else 'uids'} {_short(_s(op, 0))}{helper}{deny}"


def _hook(op: Op) -> str:
    limit = f" within {_n(op, 2)} s" if _n(op, 2) else ""
    return f"run hook {_s(op, 0)} {_quoted(_list(op, 1)[1:])}".rstrip() + limit


def _clone(op: Op) -> str:
    into = " in its cgroup" if _n(op, 1) != n.NO_SLOT else ""
    spaces = _namespaces(_n(op, 0))
    return ("clone again" if op.side == n.CONTAINER else "clone") + into + (f", new namespaces: {spaces}" if spaces else "")


def _join_ns(op: Op) -> str:
    kind = _namespaces(_n(op, 0)) or "the"
    return f"join {kind} namespace{'s' if ' ' in kind else ''} {_s(op, 0) or f'of slot {_n(op, 1)}'}"


def _mount(op: Op) -> str:
    source, target, fstype = _s(op, 0), _s(op, 1), _s(op, 2)
    options = []
    layers = []
    for option in _list(op, 3):
        if option.startswith("lowerdir"):
            layers.append(option.partition("=")[2])
        else:
            options.append(option)
    named = f"{fstype} {source}" if source and source not in (fstype, "none") else fstype
    flags = _flags(_n(op, 0))
    detail = ",".join([*([flags] if flags else []), *options])
    over = f"of {_short(':'.join(layers))}" if layers else ""
    return _and(f"mount {named} on {target}{_in_root(op, 2)}", over, detail, _spread(_n(op, 1)))


def _bind(op: Op) -> str:
    slot = _n(op, 3)
    source = _s(op, 0) or (f"slot {slot}" if slot != n.NO_SLOT else "nothing")
    verb = "rbind" if _n(op, 0) & k.MS_REC else "bind"
    flags = _flags(_n(op, 0) & ~(k.MS_BIND | k.MS_REC))
    miss = "if there" if _n(op, 4) & 1 else ""
    return _and(f"{verb} {source} on {_s(op, 1)}{_in_root(op, 2)}", flags, _spread(_n(op, 1)), miss)


def _mount_attr(op: Op) -> str:
    on, off = k.bit_names(_n(op, 0), k.MOUNT_ATTRS), k.bit_names(_n(op, 1) & ~k.MOUNT_ATTR_ATIME, k.MOUNT_ATTRS)
    below = "and all mounts below" if _n(op, 3) & 1 else ""
    changes = [f"+{name}" for name in on] + [f"-{name}" for name in off]
    return _and(f"change mount {_s(op, 0)}{_in_root(op, 2)}", below, ",".join(changes))


def _mkdir(op: Op) -> str:
    owner = f" of {_n(op, 1)}:{_n(op, 2)}" if _n(op, 1) or _n(op, 2) else ""
    return f"make directory {_s(op, 0)}{_in_root(op, 3)} {_n(op, 0):04o}{owner}"


def _device(op: Op) -> str:
    mode = _n(op, 0)
    kind = {k.S_IFCHR: "c", k.S_IFBLK: "b", k.S_IFIFO: "p"}.get(mode & 0o170000, "?")
    number = "" if kind == "p" else f" {_n(op, 1)}:{_n(op, 2)}"
    owner = f" of {_n(op, 3)}:{_n(op, 4)}" if _n(op, 3) or _n(op, 4) else ""
    return f"make device {_s(op, 0)} {kind}{number} {mode & 0o7777:04o}{owner}"


def _root(op: Op) -> str:
    return f"root is {_s(op, 0)}" + (" (bound onto itself)" if _n(op, 0) & 1 else "")


def _console(op: Op) -> str:
    size = _n(op, 1)
    text = "terminal on /dev/console" if _n(op, 2) & 1 else "terminal"
    return text + (f" of {size & 0xFFFF}x{size >> 16}" if size else "")


def _limit(value: int) -> str:
    return "unlimited" if value == k.RLIM_INFINITY else str(value)


def _rlimit(op: Op) -> str:
    names = [name for name, number in k.RLIMITS.items() if number == _n(op, 0)]
    name = names[0][7:].lower() if names else str(_n(op, 0))
    return f"limit {name} to {_limit(_n(op, 1))}, at most {_limit(_n(op, 2))}"


def _scheduler(op: Op) -> str:
    raw = op.s[0] if op.s else ""
    if not isinstance(raw, bytes) or len(raw) < 48:
        return "set scheduler"
    _, policy, _, nice, priority = struct.unpack_from("=IIQiI", raw)
    names = {number: name for name, number in k.SCHEDULERS.items()}
    return f"schedule as {names.get(policy, policy)} priority {priority} nice {nice}"


def _ioprio(op: Op) -> str:
    names = {number: name[13:].lower() for name, number in k.IOPRIO_CLASSES.items()}
    value = _n(op, 0)
    return f"I/O priority {names.get(value >> k.IOPRIO_SHIFT, '?')} {value & 0x1FFF}"


def _personality(op: Op) -> str:
    names = {number: name for name, number in k.PERSONALITIES.items()}
    return f"personality {names.get(_n(op, 0), hex(_n(op, 0)))}"


def _setid(op: Op) -> str:
    raw = op.s[0] if op.s and isinstance(op.s[0], bytes) else b""
    groups = ",".join(str(gid) for gid in struct.unpack(f"={len(raw) // 4}I", raw[: len(raw) // 4 * 4]))
    return _and(f"become uid {_n(op, 0)} gid {_n(op, 1)}", f"groups {groups}" if groups else "", "keeping groups" if _n(op, 3) & 1 else "")


def _caps(op: Op) -> str:
    effective, permitted, inheritable, ambient = (_n(op, index) for index in range(4))
    text = f"capabilities {_capabilities(effective)}"
    if permitted != effective:
        text += f", permitted {_capabilities(permitted)}"
    if inheritable:
        text += f", inheritable {_capabilities(inheritable)}"
    if ambient:
        text += f", ambient {_capabilities(ambient)}"
    return text


def _seccomp(op: Op) -> str:
    flags = ",".join(k.bit_names(_n(op, 1), {bit: name[20:].lower() for name, bit in k.SECCOMP_FLAGS.items()}))
    return _and(f"seccomp filter of {_n(op, 0) // 8} instructions", flags, "with listener" if _n(op, 2) != n.NO_SLOT else "")


def _pdeathsig(op: Op) -> str:
    try:
        return f"get {signal.Signals(_n(op, 0)).name} when the executor dies"
    except ValueError:
        return f"get signal {_n(op, 0)} when the executor dies"


def _fds(op: Op) -> str:
    count = _n(op, 0)
    return "close all fds from 3 on" if not count else f"pass {count} fd{'s' if count > 1 else ''} as 3…, close all others"


def _mempolicy(op: Op) -> str:
    mode = _n(op, 0)
    names = {number: name for name, number in k.MPOL_MODES.items()}
    raw = op.s[0] if op.s and isinstance(op.s[0], bytes) else b""
    nodes = [str(8 * at + bit) for at, byte in enumerate(raw) for bit in range(8) if byte >> bit & 1]
    flags = k.bit_names(mode & 0xE000, {bit: name for name, bit in k.MPOL_FLAGS.items()})
    return _and(f"memory policy {names.get(mode & 0x1FFF, '?')}", *flags, f"nodes {','.join(nodes)}" if nodes else "")


def _execve(op: Op) -> str:
    file = _s(op, 0)
    return f"exec {_quoted(_list(op, 1))}" + (f" from {file}" if file else "")


_SAY: dict[int, Callable[[Op], str]] = {
    n.OP_CGROUP_MKDIR: _cgroup_mkdir,
    n.OP_CGROUP_ATTACH: lambda op: f"enter cgroup {_s(op, 0)}",
    n.OP_CGROUP_KILL: lambda op: f"kill all in cgroup {_s(op, 0)}",
    n.OP_CGROUP_OPEN: lambda op: f"open cgroup {_s(op, 0)}",
    n.OP_CGROUP_DEVICES: _cgroup_devices,
    n.OP_WRITE: _write,
    n.OP_USAGE: _usage,
    n.OP_OPEN_TREE: _open_tree,
    n.OP_IDMAP_USERNS: _idmap,
    n.OP_LISTEN: lambda op: f"listen on {_s(op, 0)}",
    n.OP_USERNS_MAP: _userns_map,
    n.OP_HOOK: _hook,
    n.OP_CONNECT: lambda op: f"connect to {_s(op, 0)}",
    n.OP_RMTREE: lambda op: f"remove {_s(op, 0)} and all below",
    n.OP_MKDIR_HOST: lambda op: f"make directory {_s(op, 0)} (host) {_n(op, 0):04o}",
    n.OP_CLONE: _clone,
    n.OP_NETNS_MAKE: lambda op: "make network namespace beside" + (", loopback up" if _n(op, 0) & 1 else ""),
    n.OP_NETNS_ENTER: lambda op: "enter the network namespace",
    n.OP_JOIN_NS: _join_ns,
    n.OP_UNSHARE: lambda op: f"unshare {_namespaces(_n(op, 0))} namespace",
    n.OP_TIME_OFFSETS: lambda op: f"clock offsets {_short(_s(op, 0))}",
    n.OP_PROPAGATION: lambda op: f"make {_s(op, 0)}{_in_root(op, 0)} {_spread(_n(op, 1))}",
    n.OP_MOUNT: _mount,
    n.OP_BIND: _bind,
    n.OP_MOUNT_ATTR: _mount_attr,
    n.OP_MKDIR: _mkdir,
    n.OP_SYMLINK: lambda op: f"link {_s(op, 1)}{_in_root(op, 3)} to {_s(op, 0)}",
    n.OP_DEVICE: _device,
    n.OP_MASK: lambda op: f"mask {_s(op, 0)}",
    n.OP_READONLY: lambda op: f"make {_s(op, 0)} read-only",
    n.OP_ROOT: _root,
    n.OP_PIVOT: lambda op: {1: "move the root to / and chroot", 2: "chroot"}.get(_n(op, 0), "pivot the root to /"),
    n.OP_WRITE_FILE: lambda op: f"write file {_s(op, 0)} ({_n(op, 0)} bytes, {_n(op, 1):04o})",
    n.OP_CONSOLE: _console,
    n.OP_SETSID: lambda op: "new session",
    n.OP_HOSTNAME: lambda op: f"hostname {_s(op, 0)}",
    n.OP_DOMAINNAME: lambda op: f"domain name {_s(op, 0)}",
    n.OP_SYSCTL: lambda op: f"sysctl {_s(op, 0).replace('/', '.')} = {_short(_s(op, 1))}",
    n.OP_LOOPBACK: lambda op: "loopback up",
    n.OP_RLIMIT: _rlimit,
    n.OP_OOM_SCORE: lambda op: f"out-of-memory score {_signed(_n(op, 0))}",
    n.OP_SCHEDULER: _scheduler,
    n.OP_IOPRIO: _ioprio,
    n.OP_PERSONALITY: _personality,
    n.OP_UMASK: lambda op: f"umask {_n(op, 0):04o}",
    n.OP_NO_NEW_PRIVS: lambda op: "no new privileges",
    n.OP_CAP_BOUNDING: lambda op: f"bounding set {_capabilities(_n(op, 0))}",
    n.OP_SETID: _setid,
    n.OP_CAPS: _caps,
    n.OP_SECCOMP: _seccomp,
    n.OP_APPARMOR: lambda op: f"AppArmor profile {_s(op, 0)}",
    n.OP_SELINUX: lambda op: f"SELinux label {_s(op, 0)}",
    n.OP_CWD: lambda op: f"chdir to {_s(op, 0)}",
    n.OP_KEYRING: lambda op: f"session keyring {_s(op, 0)}",
    n.OP_FDS: _fds,
    n.OP_FIND_EXEC: lambda op: f"find {_s(op, 0)} in PATH {_s(op, 1)}" if "/" not in _s(op, 0) else f"find {_s(op, 0)}",
    n.OP_GATE: lambda op: "wait for start",
    n.OP_INIT: lambda op: "small init stays as pid 1",
    n.OP_EXEC: _execve,
    n.OP_PDEATHSIG: _pdeathsig,
    n.OP_NICE: lambda op: f"nice {_signed(_n(op, 0))}",
    n.OP_MEMPOLICY: _mempolicy,
}

"""The ops of a plan, one typed constructor each.

`csrc/pyrt.h` says what an op does and what its strings and numbers hold; here the lists get their lengths, and every op gets
its `why`: the flag or the path in the spec that asked for it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from msgspec import Struct

from pyrt import native as n
from pyrt.base.errors import InvalidRequest

__all__ = ["Op", "Plan", "Text", "pack_list"]

Text = str | bytes

_U64 = (1 << 64) - 1


class Op(Struct, frozen=True):
    """One op: ``code`` and ``flags`` as in pyrt.h, ``side`` HOST or CONTAINER, at most five strings and five numbers."""

    code: int
    side: int
    s: tuple[Text, ...]
    n: tuple[int, ...]
    why: str = ""
    flags: int = 0

    def at_exit(self) -> Op:
        """The same op, run on the host after the container has ended."""
        return Op(self.code, n.HOST, self.s, self.n, self.why, self.flags | n.F_AT_EXIT)

    def optional(self) -> Op:
        """The same op, whose failure is passed over."""
        return Op(self.code, self.side, self.s, self.n, self.why, self.flags | n.F_OPTIONAL)

    def on_host(self) -> Op:
        """The same op on the host side."""
        return Op(self.code, n.HOST, self.s, self.n, self.why, self.flags)


class Plan(Struct, frozen=True):
    """A whole program; ``slots`` is how many fds the caller has to bring along (slots 0 to slots-1)."""

    ops: tuple[Op, ...]
    slots: int = 0


def pack_list(items: Sequence[Text]) -> bytes:
    """Strings back to back, each ended by a NUL, as in /proc/PID/cmdline. Raises InvalidRequest for a string with a NUL inside."""
    if not items:
        return b""
    data = b"\0".join([_raw(item) for item in items]) + b"\0"
    if data.count(0) != len(items):
        bad = next(item for item in items if 0 in _raw(item))
        raise InvalidRequest(f"{bad!r}: a NUL byte cannot be passed to the kernel")
    return data


def _raw(text: Text) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def _signed(value: int) -> int:
    return value & _U64


# -- host side -------------------------------------------------------------------------------------------------------


def cgroup_mkdir(
    path: str,
    *,
    exclusive: bool = False,
    cpuset_v1: bool = False,
    enable: Sequence[str] = (),
    mount: str = "",
    why: str = "",
) -> Op:
    """Makes a cgroup and its parents. ``enable`` are v2 controllers ("cpu") switched on from ``mount`` down to the parent."""
    data = pack_list(["+" + name for name in enable])
    bits = (1 if exclusive else 0) | (2 if cpuset_v1 else 0) | (4 if enable else 0)
    return Op(n.OP_CGROUP_MKDIR, n.HOST, (path, data, mount), (bits, len(data)), why)


def cgroup_attach(path: str, why: str = "", *, host: bool = False) -> Op:
    """Moves the child into a cgroup: it does so itself, or the executor does (``host``)."""
    return Op(n.OP_CGROUP_ATTACH, n.HOST if host else n.CONTAINER, (path,), (), why)


def cgroup_kill(path: str, why: str = "") -> Op:
    """Ends every process of a cgroup and waits until it is empty."""
    return Op(n.OP_CGROUP_KILL, n.HOST, (path,), (), why)


def cgroup_open(path: str, slot: int, why: str = "") -> Op:
    """Puts an fd of a v2 cgroup into a slot, for `clone` to start in."""
    return Op(n.OP_CGROUP_OPEN, n.HOST, (path,), (slot,), why)


def cgroup_devices(path: str, program: bytes, why: str = "", *, slot: int | None = None) -> Op:
    """Attaches a device program (struct bpf_insn[]) to a v2 cgroup; ``slot`` may hold it already loaded."""
    return Op(n.OP_CGROUP_DEVICES, n.HOST, (path, program), (len(program), n.NO_SLOT if slot is None else slot), why)


def write(path: str, data: Text, why: str = "", *, create: bool = False, side: int | None = None) -> Op:
    """One write(2) of ``data``; ``create`` makes the file (0600) and empties it first."""
    raw = _raw(data)
    return Op(n.OP_WRITE, n.HOST if side is None else side, (path, raw), (len(raw), 1 if create else 0), why)


def usage(path: str, kind: int, key: str = "", multiplier: int = 1, why: str = "usage") -> Op:
    """After the end: adds a number of a file to the result (PYRT_USAGE_*)."""
    return Op(n.OP_USAGE, n.HOST, (path, key), (kind, multiplier), why, n.F_AT_EXIT)


def open_tree(
    source: str,
    slot: int,
    why: str = "",
    *,
    recursive: bool = False,
    userns_slot: int | None = None,
    attr_set: int = 0,
    attr_clr: int = 0,
) -> Op:
    """A detached copy of a mount (with what is below it when ``recursive``), for `bind` to attach."""
    idmap = n.NO_SLOT if userns_slot is None else userns_slot
    return Op(n.OP_OPEN_TREE, n.HOST, (source,), (1 if recursive else 0, slot, idmap, attr_set, attr_clr), why)


def idmap_userns(slot: int, uid_map: str, gid_map: str, why: str = "", *, path: str = "") -> Op:
    """A user namespace for idmapped mounts: of two maps, or an existing one by ``path``."""
    return Op(n.OP_IDMAP_USERNS, n.HOST, (uid_map, gid_map, path), (slot,), why)


def listen(path: str, slot: int, why: str = "") -> Op:
    """A listening unix socket at ``path``."""
    return Op(n.OP_LISTEN, n.HOST, (path,), (slot,), why)


def userns_map(text: str, *, gid: bool, helper: str = "", deny_setgroups: bool = False, why: str = "") -> Op:
    """Writes the child's id map, itself or through ``helper`` (newuidmap(1), newgidmap(1))."""
    return Op(n.OP_USERNS_MAP, n.HOST, (text, helper), (1 if gid else 0, 1 if deny_setgroups else 0), why)


def hook(
    path: str,
    args: Sequence[str],
    env: Sequence[str],
    timeout: int,
    state_before_pid: str,
    state_after_pid: str,
    why: str = "",
    *,
    host: bool,
) -> Op:
    """Runs a program to its end with the state on its stdin. ``timeout`` in seconds, 0 is none."""
    argv, envp = pack_list(args), pack_list(env)
    side = n.HOST if host else n.CONTAINER
    strings = (path, argv, envp, state_before_pid, state_after_pid)
    return Op(n.OP_HOOK, side, strings, (len(argv), len(envp), timeout), why)


def connect(path: str, slot: int, why: str = "") -> Op:
    """A connection to the unix socket at ``path``."""
    return Op(n.OP_CONNECT, n.HOST, (path,), (slot,), why)


def rmtree(path: str, why: str = "") -> Op:
    """After the end: removes a directory and all below it."""
    return Op(n.OP_RMTREE, n.HOST, (path,), (), why, n.F_AT_EXIT)


def mkdir_host(path: str, mode: int = 0o755, why: str = "", *, undo: bool = False) -> Op:
    """A directory on the host, with its parents; ``undo`` removes it after the end."""
    return Op(n.OP_MKDIR_HOST, n.HOST, (path,), (mode, 1 if undo else 0), why)


# -- the turn --------------------------------------------------------------------------------------------------------


def netns_make(why: str = "", *, loopback: bool = True) -> Op:
    """The executor makes a network namespace while the child goes on; straight behind the clone."""
    return Op(n.OP_NETNS_MAKE, n.HOST, (), (1 if loopback else 0,), why, n.F_BESIDE)


def netns_enter(why: str = "") -> Op:
    """Waits for `netns_make`, and joins what it made."""
    return Op(n.OP_NETNS_ENTER, n.CONTAINER, (), (), why)


def clone(flags: int, cgroup_slot: int | None = None, why: str = "", *, again: bool = False) -> Op:
    """The child is born; ``again`` is the second clone of a plan that joins namespaces."""
    slot = n.NO_SLOT if cgroup_slot is None else cgroup_slot
    return Op(n.OP_CLONE, n.CONTAINER if again else n.HOST, (), (flags, slot), why)


def join_ns(path: str, kind: int, why: str = "") -> Op:
    """Enters the namespace of the file at ``path``."""
    return Op(n.OP_JOIN_NS, n.CONTAINER, (path,), (kind, n.NO_SLOT), why)


def join_ns_slot(slot: int, kinds: int, why: str = "") -> Op:
    """Enters the namespace (or, for a pidfd, the namespaces) of an fd that the caller brought."""
    return Op(n.OP_JOIN_NS, n.CONTAINER, ("",), (kinds, slot), why)


def unshare(flags: int, why: str = "") -> Op:
    """unshare(2)."""
    return Op(n.OP_UNSHARE, n.CONTAINER, (), (flags,), why)


def time_offsets(text: str, why: str = "") -> Op:
    """The clocks of a new time namespace (time_namespaces(7))."""
    raw = text.encode()
    return Op(n.OP_TIME_OFFSETS, n.CONTAINER, (raw,), (len(raw),), why)


# -- mounts ----------------------------------------------------------------------------------------------------------


def propagation(path: str, flags: int, why: str = "", *, at: int | None = None) -> Op:
    """Changes how mounts spread to and from ``path`` (MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE, MS_REC)."""
    return Op(n.OP_PROPAGATION, n.CONTAINER, (path,), (n.AT_HOST if at is None else at, flags), why)


def mount(
    source: str,
    target: str,
    fstype: str,
    options: Sequence[str] = (),
    flags: int = 0,
    why: str = "",
    *,
    spread: int = 0,
    at: int | None = None,
    mode: int = 0,
    make_target: bool = True,
) -> Op:
    """Mounts a new file system. ``spread`` is its propagation, ``mode`` that of a target that has to be made (0: 0755)."""
    data = pack_list(options)
    where = n.AT_ROOT if at is None else at
    numbers = (flags, spread, where, len(data), (mode & 0xFFFF) | (0 if make_target else 1 << 16))
    return Op(n.OP_MOUNT, n.CONTAINER, (source, target, fstype, data), numbers, why)


def bind(
    source: str,
    target: str,
    flags: int = 0,
    why: str = "",
    *,
    spread: int = 0,
    at: int | None = None,
    slot: int | None = None,
    may_miss: bool = False,
    source_in_root: bool = False,
    make_target: bool = True,
) -> Op:
    """Binds a path (or the detached tree of ``slot``) to ``target``; ``may_miss``: a source that is not there is passed over."""
    bits = (1 if may_miss else 0) | (2 if source_in_root else 0) | (0 if make_target else 4)
    numbers = (flags, spread, n.AT_ROOT if at is None else at, n.NO_SLOT if slot is None else slot, bits)
    return Op(n.OP_BIND, n.CONTAINER, (source, target), numbers, why)


def mount_attr(path: str, attr_set: int, attr_clr: int, why: str = "", *, at: int | None = None, recursive: bool = False) -> Op:
    """mount_setattr(2) on a mount, or on all below it too."""
    numbers = (attr_set, attr_clr, n.AT_ROOT if at is None else at, 1 if recursive else 0)
    return Op(n.OP_MOUNT_ATTR, n.CONTAINER, (path,), numbers, why)


def mkdir(path: str, mode: int = 0o755, uid: int = 0, gid: int = 0, why: str = "", *, at: int | None = None) -> Op:
    """A directory with its parents, unless it is there."""
    return Op(n.OP_MKDIR, n.CONTAINER, (path,), (mode, uid, gid, n.AT_ROOT if at is None else at), why)


def symlink(text: str, path: str, why: str = "", *, at: int | None = None) -> Op:
    """A symbolic link at ``path`` that points to ``text``."""
    return Op(n.OP_SYMLINK, n.CONTAINER, (text, path), (0, 0, 0, n.AT_ROOT if at is None else at), why)


def device(path: str, mode: int, major: int, minor: int, uid: int, gid: int, host_path: str, why: str = "") -> Op:
    """A device node; where mknod is refused, ``host_path`` is bound. ``mode`` includes the type (S_IFCHR…)."""
    return Op(n.OP_DEVICE, n.CONTAINER, (path, host_path), (mode, major, minor, uid, gid), why)


def mask(path: str, why: str = "") -> Op:
    """Hides a path of the container."""
    return Op(n.OP_MASK, n.CONTAINER, (path,), (), why)


def readonly(path: str, why: str = "") -> Op:
    """Makes a path of the container read-only."""
    return Op(n.OP_READONLY, n.CONTAINER, (path,), (), why)


def root(path: str, why: str = "", *, bind_itself: bool = False) -> Op:
    """From here on ``path`` is the container's root."""
    return Op(n.OP_ROOT, n.CONTAINER, (path,), (1 if bind_itself else 0,), why)


def pivot(why: str = "", *, no_pivot: bool = False, chroot: bool = False) -> Op:
    """The root becomes /: by pivot_root(2), by moving it there (``no_pivot``), or for this process alone (``chroot``)."""
    return Op(n.OP_PIVOT, n.CONTAINER, (), (2 if chroot else 1 if no_pivot else 0,), why)


def write_file(path: str, data: bytes, mode: int = 0o644, why: str = "") -> Op:
    """Creates or replaces a file inside the root."""
    return Op(n.OP_WRITE_FILE, n.CONTAINER, (path, data), (len(data), mode), why)


def console(slot: int, rows: int = 0, cols: int = 0, uid: int = 0, why: str = "", *, bind_console: bool = True) -> Op:
    """A terminal of the container's own; its master goes over the socket in ``slot``."""
    return Op(n.OP_CONSOLE, n.CONTAINER, (), (slot, rows << 16 | cols, 1 if bind_console else 0, uid), why)


# -- the process -----------------------------------------------------------------------------------------------------


def setsid(why: str = "") -> Op:
    """A session of its own."""
    return Op(n.OP_SETSID, n.CONTAINER, (), (), why)


def hostname(name: str, why: str = "") -> Op:
    """sethostname(2)."""
    return Op(n.OP_HOSTNAME, n.CONTAINER, (name,), (), why)


def domainname(name: str, why: str = "") -> Op:
    """setdomainname(2)."""
    return Op(n.OP_DOMAINNAME, n.CONTAINER, (name,), (), why)


def sysctl(key: str, value: str, why: str = "") -> Op:
    """Writes below /proc/sys. ``key`` is a path as ``net/ipv4/ip_forward``."""
    return Op(n.OP_SYSCTL, n.CONTAINER, (key, value), (), why)


def loopback(why: str = "") -> Op:
    """The loopback interface goes up."""
    return Op(n.OP_LOOPBACK, n.CONTAINER, (), (), why)


def rlimit(resource: int, soft: int, hard: int, why: str = "") -> Op:
    """setrlimit(2); 2**64-1 is no limit."""
    return Op(n.OP_RLIMIT, n.CONTAINER, (), (resource, soft & _U64, hard & _U64), why)


def oom_score(score: int, why: str = "") -> Op:
    """How readily the kernel picks the process when memory is out: -1000 to 1000."""
    return Op(n.OP_OOM_SCORE, n.CONTAINER, (), (_signed(score),), why)


def scheduler(attributes: bytes, why: str = "") -> Op:
    """sched_setattr(2) with a packed struct sched_attr."""
    return Op(n.OP_SCHEDULER, n.CONTAINER, (attributes,), (len(attributes),), why)


def ioprio(value: int, why: str = "") -> Op:
    """ioprio_set(2)."""
    return Op(n.OP_IOPRIO, n.CONTAINER, (), (value,), why)


def personality(value: int, why: str = "") -> Op:
    """personality(2)."""
    return Op(n.OP_PERSONALITY, n.CONTAINER, (), (value,), why)


def umask(value: int, why: str = "") -> Op:
    """umask(2)."""
    return Op(n.OP_UMASK, n.CONTAINER, (), (value,), why)


def no_new_privs(why: str = "") -> Op:
    """No exec gives more rights than before it."""
    return Op(n.OP_NO_NEW_PRIVS, n.CONTAINER, (), (), why)


def cap_bounding(keep: int, why: str = "") -> Op:
    """Drops all but these capabilities from the bounding set."""
    return Op(n.OP_CAP_BOUNDING, n.CONTAINER, (), (keep,), why)


def setid(uid: int, gid: int, groups: Sequence[int] = (), why: str = "", *, keep_groups: bool = False) -> Op:
    """Changes user, group and supplementary groups; ``keep_groups`` leaves the latter alone."""
    data = struct.pack(f"={len(groups)}I", *groups)
    return Op(n.OP_SETID, n.CONTAINER, (data,), (uid, gid, len(data), 1 if keep_groups else 0), why)


def caps(effective: int, permitted: int, inheritable: int, ambient: int, why: str = "") -> Op:
    """The process's four capability sets."""
    return Op(n.OP_CAPS, n.CONTAINER, (), (effective, permitted, inheritable, ambient), why)


def seccomp(
    program: bytes, flags: int = 0, why: str = "", *, listener_slot: int | None = None, state: tuple[str, str, str] = ("", "", "")
) -> Op:
    """Loads a filter (struct sock_filter[]). ``state`` is the JSON for its listener, split where the pid stands."""
    slot = n.NO_SLOT if listener_slot is None else listener_slot
    return Op(n.OP_SECCOMP, n.CONTAINER, (program, *state), (len(program), flags, slot), why)


def apparmor(profile: str, why: str = "") -> Op:
    """The AppArmor profile after exec."""
    return Op(n.OP_APPARMOR, n.CONTAINER, (profile,), (), why)


def selinux(label: str, why: str = "") -> Op:
    """The SELinux label after exec."""
    return Op(n.OP_SELINUX, n.CONTAINER, (label,), (), why)


def cwd(path: str, why: str = "") -> Op:
    """chdir(2)."""
    return Op(n.OP_CWD, n.CONTAINER, (path,), (), why)


def keyring(name: str, why: str = "") -> Op:
    """A session keyring of its own."""
    return Op(n.OP_KEYRING, n.CONTAINER, (name,), (), why)


def fds(count: int, first_slot: int, why: str = "") -> Op:
    """``count`` of the caller's fds become fds 3, 4, …; all others end at exec."""
    return Op(n.OP_FDS, n.CONTAINER, (), (count, first_slot), why)


def find_exec(file: str, path: str, why: str = "") -> Op:
    """Finds the program as a shell would."""
    return Op(n.OP_FIND_EXEC, n.CONTAINER, (file, path), (), why)


def gate(slot: int, why: str = "") -> Op:
    """Waits until somebody connects: `start`."""
    return Op(n.OP_GATE, n.CONTAINER, (), (slot,), why)


def init(why: str = "") -> Op:
    """A small init stays as the first process; the rest goes on in its child."""
    return Op(n.OP_INIT, n.CONTAINER, (), (), why)


def execve(args: Sequence[str], env: Sequence[str], why: str = "", *, file: str = "") -> Op:
    """Becomes the container's program (what `find_exec` found when ``file`` is "")."""
    argv, envp = pack_list(args), pack_list(env)
    return Op(n.OP_EXEC, n.CONTAINER, (file, argv, envp), (len(argv), len(envp)), why)


def pdeathsig(signal: int, why: str = "") -> Op:
    """The signal that comes when the executor dies."""
    return Op(n.OP_PDEATHSIG, n.CONTAINER, (), (signal,), why)


def nice(value: int, why: str = "") -> Op:
    """setpriority(2)."""
    return Op(n.OP_NICE, n.CONTAINER, (), (_signed(value),), why)


def mempolicy(mode: int, nodes: bytes, bits: int, why: str = "") -> Op:
    """set_mempolicy(2) with a node mask of ``bits`` bits."""
    return Op(n.OP_MEMPOLICY, n.CONTAINER, (nodes,), (mode, bits), why)

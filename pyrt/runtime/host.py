"""Facts about this machine and this user that plans depend on: cgroups, user namespaces, security modules.

Everything here only reads. `host_facts` is cached; `look` reads afresh, below another root where tests want one.
"""

from __future__ import annotations

import errno
import os

from msgspec import Struct

__all__ = ["Hierarchy", "HostFacts", "IdRange", "forget", "host_facts", "look", "owner_of_namespace"]

_V2_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc")
_NS_GET_USERNS = 0xB701


class Hierarchy(Struct, frozen=True):
    """One mounted cgroup hierarchy.

    ``mount`` is where it is mounted, ``controllers`` what it controls (a v1 hierarchy without controllers has its name,
    "name=systemd"), ``own`` the host path of the directory that this process is in ("" when it cannot be seen from here).
    """

    mount: str
    controllers: tuple[str, ...]
    own: str = ""
    v2: bool = False

    def directory(self, path: str) -> str:
        """The host path of a cgroup: absolute paths count from the mount, others from where this process is.

        In v2 from one level higher: a group with processes cannot have children with controllers.
        """
        base, rest = self.mount, path.strip("/")
        if not path.startswith("/") and self.own:
            base = os.path.dirname(self.own) if self.v2 and self.own != self.mount else self.own
        return f"{base.rstrip('/')}/{rest}" if rest else base


class IdRange(Struct, frozen=True):
    """``size`` ids from ``start`` on that a user may map (subuid(5))."""

    start: int
    size: int


class HostFacts(Struct, frozen=True):
    """What is known. ``mode`` is "v1", "v2", "hybrid" (v1 with a v2 mount beside) or "none"; ``kernel`` (major, minor)."""

    mode: str = "none"
    hierarchies: tuple[Hierarchy, ...] = ()
    v2_controllers: tuple[str, ...] = ()
    euid: int = 0
    egid: int = 0
    kernel: tuple[int, int] = (6, 8)
    lsms: tuple[str, ...] = ()
    in_userns: bool = False
    userns: bool = True
    newuidmap: str = ""
    newgidmap: str = ""
    subuid: tuple[IdRange, ...] = ()
    subgid: tuple[IdRange, ...] = ()
    cgroup_writable: bool = True
    kcore: bool = True

    @property
    def unified(self) -> Hierarchy | None:
        """The v2 hierarchy."""
        for hierarchy in self.hierarchies:
            if hierarchy.v2:
                return hierarchy
        return None

    @property
    def journal(self) -> Hierarchy | None:
        """The hierarchy in which every container of pyrt has a directory: v2, else v1 `pids`, else the first one."""
        return self.unified or self.controller("pids") or (self.hierarchies[0] if self.hierarchies else None)

    def controller(self, name: str) -> Hierarchy | None:
        """The hierarchy that has a controller, by its v1 name ("blkio") or v2 name ("io")."""
        for hierarchy in self.hierarchies:
            if not hierarchy.v2 and name in hierarchy.controllers:
                return hierarchy
        v2_name = {"blkio": "io", "cpuacct": "cpu"}.get(name, name)
        return self.unified if v2_name in self.v2_controllers else None

    @property
    def rootless(self) -> bool:
        """True without the powers of the machine's root: another user, or root of a user namespace."""
        return self.euid != 0 or self.in_userns


_cached: dict[int, HostFacts] = {}


def host_facts() -> HostFacts:
    """The facts for the current effective user, read once per process and user."""
    uid = os.geteuid()
    found = _cached.get(uid)
    if found is None:
        found = _cached[uid] = look()
    return found


def forget() -> None:
    """Reads everything afresh next time, as after a fork or a mount."""
    _cached.clear()


os.register_at_fork(after_in_child=forget)


def look(root: str = "") -> HostFacts:
    """Reads all facts now. ``root`` stands before /proc, /sys and /etc."""
    euid, egid = os.geteuid(), os.getegid()
    mounts = _cgroup_mounts(_read(f"{root}/proc/self/mountinfo"), _read(f"{root}/proc/self/cgroup"))
    v1 = [hierarchy for hierarchy in mounts if not hierarchy.v2]
    unified = next((hierarchy for hierarchy in mounts if hierarchy.v2), None)
    offered: tuple[str, ...] = ()
    if unified:
        top = unified.mount if euid == 0 or not unified.own else os.path.dirname(unified.own)
        words = _read(f"{root}{top}/cgroup.controllers").split()
        offered = tuple(name for name in _V2_CONTROLLERS if name in words)
        mounts = [Hierarchy(h.mount, offered, h.own, True) if h.v2 else h for h in mounts]
    mode = "hybrid" if v1 and unified else "v2" if unified else "v1" if v1 else "none"
    return HostFacts(
        mode=mode,
        hierarchies=tuple(mounts),
        v2_controllers=offered,
        euid=euid,
        egid=egid,
        kernel=_kernel_version(os.uname().release),
        lsms=_lsms(root),
        in_userns=_read(f"{root}/proc/self/uid_map").split() not in ([], ["0", "0", "4294967295"]),
        userns=_userns_allowed(root, euid),
        newuidmap=_program("newuidmap") if euid else "",
        newgidmap=_program("newgidmap") if euid else "",
        subuid=_ranges(_read(f"{root}/etc/subuid"), euid) if euid else (),
        subgid=_ranges(_read(f"{root}/etc/subgid"), euid) if euid else (),
        cgroup_writable=_writable(mounts, mode, euid, root),
        kcore=os.path.exists(f"{root}/proc/kcore"),
    )


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def _kernel_version(release: str) -> tuple[int, int]:
    digits = [""]
    for char in release:
        if char.isdigit():
            digits[-1] += char
        elif char == "." and len(digits) < 3:
            digits.append("")
        else:
            break
    numbers = [int(word or 0) for word in (*digits, "0", "0")]
    return numbers[0], numbers[1]


# -- cgroups ---------------------------------------------------------------------------------------------------------


def _unescape(word: str) -> str:
    if "\\" not in word:
        return word
    parts = word.split("\\")
    return parts[0] + "".join(chr(int(part[:3], 8)) + part[3:] for part in parts[1:])


def _cgroup_mounts(mountinfo: str, own: str) -> list[Hierarchy]:
    """The mounted hierarchies, v1 first, each once (at its first mount point that is not hidden)."""
    places = _own_places(own)
    found: dict[tuple[str, ...], Hierarchy] = {}
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, tail = left.split(" "), right.split(" ")
        if len(fields) < 6 or len(tail) < 3 or tail[0] not in ("cgroup", "cgroup2"):
            continue
        root, mount = _unescape(fields[3]), _unescape(fields[4])
        if tail[0] == "cgroup2":
            key: tuple[str, ...] = ("",)
        else:
            key = _v1_controllers(tail[2].split(","))
        if key in found:
            continue
        place = places.get(key[0], "") if key else ""
        found[key] = Hierarchy(mount, () if tail[0] == "cgroup2" else key, _seen_from(mount, root, place), tail[0] == "cgroup2")
    return sorted(found.values(), key=lambda hierarchy: hierarchy.v2)


_NOT_CONTROLLERS = frozenset(
    {"rw", "ro", "xattr", "noprefix", "clone_children", "cpuset_v2_mode", "none", "favordynmods", "nofavordynmods"}
)


def _v1_controllers(options: list[str]) -> tuple[str, ...]:
    return tuple(word for word in options if word not in _NOT_CONTROLLERS and not word.startswith("release_agent="))


def _own_places(text: str) -> dict[str, str]:
    """Controller (or "name=…", or "" for v2) -> this process's path in that hierarchy."""
    places = {}
    for line in text.splitlines():
        fields = line.split(":", 2)
        if len(fields) == 3:
            for name in fields[1].split(","):
                places[name] = fields[2]
    return places


def _seen_from(mount: str, root: str, place: str) -> str:
    """The host path of `place` when the hierarchy's `root` is what is mounted; "" when it lies outside."""
    if not place or place.startswith("/.."):
        return ""
    if root in ("/", ""):
        rest = place
    elif place == root or place.startswith(root + "/"):
        rest = place[len(root) :]
    else:
        return ""
    return (mount.rstrip("/") + rest).rstrip("/") or "/"


def _writable(mounts: list[Hierarchy], mode: str, euid: int, root: str) -> bool:
    """Whether this user can make cgroups: root wherever they are not mounted read-only, others where systemd has delegated."""
    if mode == "none":
        return False
    if euid == 0:
        return all(os.access(root + hierarchy.mount, os.W_OK) for hierarchy in mounts)
    if mode != "v2":
        return False
    own = mounts[-1].own
    return bool(own) and own != mounts[-1].mount and os.access(root + os.path.dirname(own), os.W_OK)


# -- users and security ----------------------------------------------------------------------------------------------


def _lsms(root: str) -> tuple[str, ...]:
    names = _read(f"{root}/sys/kernel/security/lsm").strip().split(",")
    found = {name for name in names if name}
    if _read(f"{root}/sys/module/apparmor/parameters/enabled").startswith("Y"):
        found.add("apparmor")
    else:
        found.discard("apparmor")
    if os.path.exists(f"{root}/sys/fs/selinux/enforce"):
        found.add("selinux")
    return tuple(sorted(found))


def _userns_allowed(root: str, euid: int) -> bool:
    if not os.path.exists(f"{root}/proc/self/ns/user"):
        return False
    if _read(f"{root}/proc/sys/user/max_user_namespaces").strip() == "0":
        return False
    return euid == 0 or _read(f"{root}/proc/sys/kernel/unprivileged_userns_clone").strip() != "0"


def _program(name: str) -> str:
    for folder in ("/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/sbin"):
        if os.access(f"{folder}/{name}", os.X_OK):
            return f"{folder}/{name}"
    return ""


def _ranges(text: str, uid: int) -> tuple[IdRange, ...]:
    names = {str(uid)}
    try:
        import pwd

        names.add(pwd.getpwuid(uid).pw_name)
    except KeyError:
        pass
    found = []
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) == 3 and fields[0] in names and fields[1].isdigit() and fields[2].isdigit() and int(fields[2]):
            found.append(IdRange(int(fields[1]), int(fields[2])))
    return tuple(found)


def owner_of_namespace(path: str) -> tuple[int, int] | None:
    """(device, inode) of the user namespace that owns the namespace at ``path`` (ioctl_ns(2)); None when it is not visible.

    Raises OSError when ``path`` is no namespace.
    """
    import fcntl

    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            owner = fcntl.ioctl(fd, _NS_GET_USERNS)
        except OSError as error:
            if error.errno in (errno.EPERM, errno.ENOTTY):
                return None
            raise
        try:
            info = os.fstat(owner)
            return info.st_dev, info.st_ino
        finally:
            os.close(owner)
    finally:
        os.close(fd)

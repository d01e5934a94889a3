"""What to do when an op fails, by op and errno; errno None stands for any."""

from __future__ import annotations

import errno as e

from pyrt import native as n
from pyrt.runtime.plan.ops import Op

__all__ = ["hint"]

_NO_USERNS = (
    "this kernel or its settings forbid user namespaces: see /proc/sys/user/max_user_namespaces, kernel.unprivileged_userns_clone and "
    "kernel.apparmor_restrict_unprivileged_userns"
)
_LSM = "the security module of this kernel is off or does not know this name"

_HINTS: dict[tuple[int, int | None], str] = {
    (n.OP_CGROUP_MKDIR, e.EACCES): "this user may not make cgroups here: run as root, or have systemd delegate a cgroup (Delegate=yes)",
    (n.OP_CGROUP_MKDIR, e.EPERM): "this user may not make cgroups here: run as root, or have systemd delegate a cgroup (Delegate=yes)",
    (n.OP_CGROUP_MKDIR, e.EROFS): "cgroups are mounted read-only here: inside a container they have to be delegated to it",
    (n.OP_CGROUP_MKDIR, e.EEXIST): "a container with this cgroup exists already",
    (n.OP_CGROUP_MKDIR, e.EBUSY): "the parent cgroup has processes of its own: use another cgroupsPath",
    (n.OP_CGROUP_MKDIR, e.ENOSPC): "the limit of cgroups is reached (cgroup.max.descendants), or cpuset has no CPUs to give",
    (n.OP_CGROUP_ATTACH, e.EBUSY): "the cgroup has controllers enabled for its children, so it cannot hold processes",
    (n.OP_CGROUP_ATTACH, e.ENOSPC): "the cgroup's cpuset has no CPUs or memory nodes",
    (n.OP_CGROUP_ATTACH, e.EAGAIN): "the cgroup is at its limit of processes: raise pids.limit",
    (n.OP_CGROUP_OPEN, e.ENOENT): "the cgroup was removed by somebody else",
    (n.OP_CGROUP_DEVICES, e.EPERM): "device rules need CAP_BPF or root",
    (n.OP_CGROUP_DEVICES, e.EINVAL): "this kernel does not take cgroup device programs (CONFIG_CGROUP_BPF, since 4.15)",
    (n.OP_WRITE, e.EBUSY): "the kernel does not let go of what is in use: the limit is below the current usage",
    (n.OP_WRITE, e.ENOENT): "this kernel has no such setting",
    (n.OP_WRITE, e.EINVAL): "the kernel does not take this value",
    (n.OP_WRITE, e.ERANGE): "the value is out of the kernel's range",
    (n.OP_WRITE, e.EACCES): "only root may set this, or the parent cgroup does not allow it",
    (n.OP_WRITE, e.EPERM): "only root may set this, or the parent cgroup does not allow it",
    (n.OP_WRITE, e.ENODEV): "there is no such device",
    (n.OP_WRITE, e.EOPNOTSUPP): "this kernel does not support the setting",
    (n.OP_USERNS_MAP, e.EPERM): "not this user's ids: give it a range in /etc/subuid and /etc/subgid, and install uidmap",
    (n.OP_USERNS_MAP, e.EINVAL): "the id maps overlap, or have more than 340 lines",
    (n.OP_USERNS_MAP, e.ENOENT): "newuidmap and newgidmap are missing: install the package uidmap",
    (n.OP_USERNS_MAP, e.EIO): "newuidmap refused: compare the map with /etc/subuid and /etc/subgid",
    (n.OP_HOOK, e.EIO): "the hook ended with a failure",
    (n.OP_HOOK, e.ETIMEDOUT): "the hook ran longer than its timeout",
    (n.OP_HOOK, e.ENOENT): "no such program: a hook's path is absolute, and createContainer hooks are looked up on the host",
    (n.OP_LISTEN, e.EADDRINUSE): "a container of this id is being created already",
    (n.OP_CONNECT, e.ENOENT): "nothing listens there",
    (n.OP_CONNECT, e.ECONNREFUSED): "nothing listens there any more",
    (n.OP_CLONE, e.EPERM): "only root may make namespaces, unless in a user namespace",
    (n.OP_CLONE, e.EINVAL): "this kernel lacks one of the namespaces",
    (n.OP_CLONE, e.ENOSPC): "the limit of namespaces is reached: see /proc/sys/user/max_*_namespaces",
    (n.OP_CLONE, e.EUSERS): _NO_USERNS,
    (n.OP_CLONE, e.EAGAIN): "the limit of processes is reached: see ulimit -u and pids.max",
    (n.OP_CLONE, e.EBUSY): "the cgroup has controllers enabled for its children, so it cannot hold processes",
    (n.OP_CLONE, e.ENOMEM): "out of memory, or the pid namespace that was joined has lost its init",
    (n.OP_JOIN_NS, e.ENOENT): "the namespace is gone: its container or process has ended",
    (n.OP_JOIN_NS, e.EPERM): "this user may not join that namespace; root of its user namespace may",
    (n.OP_JOIN_NS, e.EINVAL): "the file is not a namespace of this type",
    (n.OP_UNSHARE, e.EINVAL): "this kernel lacks the namespace",
    (n.OP_TIME_OFFSETS, e.ERANGE): "the offset makes a clock negative or too large",
    (n.OP_TIME_OFFSETS, e.EACCES): "the clocks of this time namespace are in use already",
    (n.OP_MOUNT, e.ENODEV): "this kernel has no such file system (modprobe it?)",
    (n.OP_MOUNT, e.EPERM): "in a user namespace, proc needs a new pid, sysfs a new network and mqueue a new ipc namespace",
    (n.OP_MOUNT, e.EINVAL): "the kernel does not take these options (dmesg may say which)",
    (n.OP_MOUNT, e.EBUSY): "the file system or its directory is in use by another mount",
    (n.OP_MOUNT, e.ENOENT): "source, a layer or the target does not exist",
    (n.OP_MOUNT, e.ELOOP): "the target leads through a symbolic link that may not be followed",
    (n.OP_MOUNT, e.EXDEV): "the target leads out of the container's root",
    (n.OP_BIND, e.ENOENT): "the source does not exist on the host",
    (n.OP_BIND, e.ENOTDIR): "source and target are not of one kind: a file binds onto a file, a directory onto a directory",
    (n.OP_BIND, e.EPERM): "in a user namespace a mount's ro, nosuid, nodev and noexec cannot be taken back",
    (n.OP_BIND, e.EINVAL): "the source is unbindable, or has locked mounts below it: try rbind",
    (n.OP_BIND, e.EACCES): "the user that is the container's root outside may not reach the source, or not make the target",
    (n.OP_BIND, e.EROFS): "the target is missing and the root file system is read-only, so it cannot be made",
    (n.OP_OPEN_TREE, e.ENOENT): "the source does not exist on the host",
    (n.OP_OPEN_TREE, e.ENOSYS): "this needs Linux 5.12 (open_tree, mount_setattr)",
    (n.OP_OPEN_TREE, e.EINVAL): "the source's file system does not take id maps, or it is idmapped already",
    (n.OP_OPEN_TREE, e.EPERM): "only root of the file system's own user namespace may idmap it",
    (n.OP_MOUNT_ATTR, e.EPERM): "in a user namespace a mount's ro, nosuid, nodev and noexec cannot be taken back",
    (n.OP_MOUNT_ATTR, e.ENOSYS): "recursive mount options need Linux 5.12 (mount_setattr)",
    (n.OP_DEVICE, e.EPERM): "device nodes cannot be made here, and the host has none of this name to bind",
    (n.OP_ROOT, e.ENOENT): "no such directory: check root.path, which is relative to the bundle",
    (n.OP_ROOT, e.ENOTDIR): "root.path is not a directory",
    (n.OP_ROOT, e.EACCES): "the root cannot be reached by the user that the container's root is on the host",
    (n.OP_PIVOT, e.EINVAL): "the root is no mount, or this is a ramfs: try --no-pivot",
    (n.OP_CONSOLE, e.ENOENT): "a terminal needs a devpts on /dev/pts",
    (n.OP_CONSOLE, e.EPERM): "the process leads no session of its own",
    (n.OP_SYSCTL, e.ENOENT): "this kernel has no such setting",
    (n.OP_SYSCTL, e.EACCES): "the setting is not the container's own, or /proc/sys is read-only here",
    (n.OP_SYSCTL, e.EPERM): "the setting is not the container's own, or /proc/sys is read-only here",
    (n.OP_SYSCTL, e.EINVAL): "the kernel does not take this value",
    (n.OP_SYSCTL, e.EROFS): "/proc/sys is read-only here",
    (n.OP_RLIMIT, e.EPERM): "raising a hard limit needs CAP_SYS_RESOURCE: ask for less, or raise the limit of the caller",
    (n.OP_RLIMIT, e.EINVAL): "the soft limit is above the hard one",
    (n.OP_OOM_SCORE, e.EACCES): "lowering the score needs CAP_SYS_RESOURCE",
    (n.OP_OOM_SCORE, e.EPERM): "lowering the score needs CAP_SYS_RESOURCE",
    (n.OP_SCHEDULER, e.EPERM): "this scheduling policy needs CAP_SYS_NICE",
    (n.OP_SCHEDULER, e.EBUSY): "there is not enough CPU time left for SCHED_DEADLINE",
    (n.OP_SCHEDULER, e.EINVAL): "the kernel does not take these values for this policy",
    (n.OP_IOPRIO, e.EPERM): "this I/O class needs CAP_SYS_ADMIN or CAP_SYS_NICE",
    (n.OP_NICE, e.EACCES): "a higher priority needs CAP_SYS_NICE",
    (n.OP_CAP_BOUNDING, e.EPERM): "dropping capabilities needs CAP_SETPCAP",
    (n.OP_CAPS, e.EPERM): "a capability was asked for that the caller does not have itself",
    (n.OP_SETID, e.EINVAL): "the id is not mapped in the container's user namespace",
    (n.OP_SETID, e.EPERM): "only root may change ids, and in a user namespace of one id setgroups is denied",
    (n.OP_SECCOMP, e.EINVAL): "this kernel does not take the filter or its flags",
    (n.OP_SECCOMP, e.EACCES): "a filter needs no_new_privs or CAP_SYS_ADMIN",
    (n.OP_APPARMOR, e.ENOENT): _LSM,
    (n.OP_APPARMOR, e.EINVAL): _LSM,
    (n.OP_SELINUX, e.EINVAL): _LSM,
    (n.OP_SELINUX, e.ENOENT): _LSM,
    (n.OP_CWD, e.ENOENT): "the working directory does not exist in the container",
    (n.OP_CWD, e.ENOTDIR): "the working directory is a file in the container",
    (n.OP_CWD, e.EACCES): "the user may not enter the working directory",
    (n.OP_KEYRING, e.EDQUOT): "the user has too many keys: see /proc/sys/kernel/keys/root_maxkeys, or use --no-new-keyring",
    (n.OP_FIND_EXEC, e.ENOENT): "no such program in the container",
    (n.OP_FIND_EXEC, e.EACCES): "the program is not executable, or its directory is closed to the user",
    (n.OP_EXEC, e.ENOENT): "the program, or the interpreter that it names, is not in the container",
    (n.OP_EXEC, e.EACCES): "the program is not executable, or its file system is mounted noexec",
    (n.OP_EXEC, e.ENOEXEC): "the program is of another architecture, or a script without #!",
    (n.OP_EXEC, e.E2BIG): "arguments and environment are too large",
    (n.OP_MEMPOLICY, e.EINVAL): "the nodes do not exist, or the policy does not take them",
    (n.OP_MEMPOLICY, e.EPERM): "the container's cpuset does not have these nodes",
}

_EVERYWHERE = {
    e.ENOMEM: "the machine, or the caller's cgroup, is out of memory",
    e.EMFILE: "too many open files: see ulimit -n",
    e.ENFILE: "too many open files on this machine: see /proc/sys/fs/file-max",
    e.ENOSYS: "this kernel is too old for it, or a seccomp filter hides the system call",
    e.ENOSPC: "no space left: see df, and /proc/sys/user/max_* for limits of the kernel",
    e.EROFS: "the file system is read-only",
    e.ECHILD: "something killed the container's first process: out of memory, or a signal",
}


def hint(op: Op, errno: int) -> str:
    """What to do about it, without a full stop; "" if nobody knows. ``errno`` is positive."""
    if op.code == n.OP_MOUNT and errno == e.EINVAL and len(op.s) > 2 and op.s[2] == "overlay":
        return "a layer cannot be used: too many stacked overlays, Linux before 5.11 in a user namespace, or a locked mount below it"
    found = _HINTS.get((op.code, errno))
    return found if found is not None else _EVERYWHERE.get(errno, "")

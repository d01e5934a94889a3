"""Docker's default seccomp policy in our own compact tables, and Docker's profile files (--security-opt
seccomp=FILE).

The policy's facts: everything is refused with EPERM but the calls listed here; some calls come with a capability,
some only on one architecture, some only with certain arguments. clone may make no namespaces without CAP_SYS_ADMIN,
and clone3, whose flags a filter cannot see, then answers ENOSYS so that libc falls back to clone.
"""

from __future__ import annotations

import functools
import os
import re

from pyrt.base.errors import InvalidSpec
from pyrt.model import oci
from pyrt.runtime.spec.decode import decode_as

ALLOWED = """
    _llseek _newselect accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32
    clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
    clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1
    epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit
    exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2
    fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat
    fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait
    futex_waitv futex_wake futimesat get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid getegid32
    geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid
    getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid getsockname getsockopt
    gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init inotify_init1
    inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ioctl
    ioprio_get ioprio_set ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32
    lgetxattr link linkat listen listmount listxattr listxattrat llistxattr lremovexattr lseek lsetxattr lstat lstat64
    madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2
    mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
    mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap
    name_to_handle_at nanosleep newfstatat open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc
    pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6
    pselect6_time64 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg
    recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall
    riscv_hwprobe rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
    rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min
    sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64
    sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop
    semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto set_robust_list set_thread_area
    set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid
    setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid
    setsockopt setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4
    sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs statfs64 statmount statx symlink symlinkat
    sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime
    timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
    timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat
    utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev
"""
"""Allowed to every container."""

WITH_CAPABILITY: dict[str, str] = {
    "CAP_BPF": "bpf",
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_PERFMON": "perf_event_open",
    "CAP_SYSLOG": "syslog",
    "CAP_SYS_ADMIN": "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr"
    " lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd"
    " setdomainname sethostname setns syslog umount umount2 unshare",
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "delete_module finit_module init_module",
    "CAP_SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    "CAP_SYS_RAWIO": "ioperm iopl",
    "CAP_SYS_TIME": "clock_settime clock_settime64 settimeofday stime",
    "CAP_SYS_TTY_CONFIG": "vhangup",
}
"""Allowed to containers whose bounding set has the capability."""

ON_ARCHITECTURE: tuple[tuple[tuple[str, ...], str], ...] = (
    (("ppc64le",), "swapcontext sync_file_range2"),
    (("arm", "arm64"), "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2"),
    (("amd64",), "arch_prctl"),
    (("amd64", "386"), "modify_ldt"),
    (("s390", "s390x"), "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr"),
    (("riscv64",), "riscv_flush_icache"),
)
"""Allowed on these architectures (Go's names)."""

PTRACE_CALLS = "process_vm_readv process_vm_writev ptrace"
PTRACE_KERNEL = (4, 8)
"""From this kernel on a filter is asked again after a tracer has changed the call, so ptrace is harmless to it."""

AF_VSOCK = 40
"""socket(2) is open but for this family, which reaches past every network namespace, and for AF_ALG (38)."""

PERSONALITIES = (0x0, 0x0008, 0x20000, 0x20008, 0xFFFFFFFF)
"""Linux, Linux32, UNAME26, both, and the question."""

CLONE_NAMESPACES = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET."""

SUB_ARCHITECTURES: dict[str, tuple[str, ...]] = {
    "amd64": ("X86_64", "X86", "X32"),
    "386": ("X86",),
    "arm64": ("AARCH64", "ARM"),
    "arm": ("ARM",),
    "mips64": ("MIPS64", "MIPS", "MIPS64N32"),
    "mips64le": ("MIPSEL64", "MIPSEL", "MIPSEL64N32"),
    "s390x": ("S390X", "S390"),
    "ppc64le": ("PPC64LE",),
    "riscv64": ("RISCV64",),
    "loong64": ("LOONGARCH64",),
}
"""Go's name -> libseccomp's, the native one first, then those that the same kernel also runs."""

_MACHINES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "loongarch64": "loong64",
    "armv7l": "arm",
    "armv6l": "arm",
    "i686": "386",
    "i586": "386",
}


@functools.cache
def machine() -> str:
    """This machine's architecture by Go's name ("amd64")."""
    name = os.uname().machine
    return _MACHINES.get(name, name)


@functools.cache
def kernel_version() -> tuple[int, int]:
    """Major and minor number of the running kernel."""
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def profile(caps: tuple[str, ...] | frozenset[str], arch: str | None = None) -> oci.LinuxSeccomp:
    """Docker's default policy for a container with the bounding set `caps` on `arch` (Go's name; None: this
    machine).
    """
    return _profile(frozenset(caps), arch or machine(), kernel_version() >= PTRACE_KERNEL)


@functools.lru_cache(maxsize=64)
def _profile(caps: frozenset[str], arch: str, ptrace: bool) -> oci.LinuxSeccomp:
    names = set(ALLOWED.split())
    for cap, calls in WITH_CAPABILITY.items():
        if cap in caps:
            names.update(calls.split())
    for archs, calls in ON_ARCHITECTURE:
        if arch in archs:
            names.update(calls.split())
    if ptrace:
        names.update(PTRACE_CALLS.split())
    rules = [_allow(*sorted(names))]
    rules += [
        _allow("socket", when=(0, "LT", AF_VSOCK - 2)),
        _allow("socket", when=(0, "EQ", AF_VSOCK - 1)),
        _allow("socket", when=(0, "GT", AF_VSOCK)),
    ]
    rules += [_allow("personality", when=(0, "EQ", value)) for value in PERSONALITIES]
    if "CAP_SYS_ADMIN" not in caps:
        flags_at = 1 if arch in ("s390", "s390x") else 0  # clone(2), "C library/kernel differences"
        rules.append(_allow("clone", when=(flags_at, "MASKED_EQ", CLONE_NAMESPACES)))
        rules.append(oci.LinuxSyscall(names=("clone3",), action="SCMP_ACT_ERRNO", errno_ret=38))
    return oci.LinuxSeccomp(
        default_action="SCMP_ACT_ERRNO",
        default_errno_ret=1,
        architectures=tuple("SCMP_ARCH_" + name for name in SUB_ARCHITECTURES.get(arch, ())),
        syscalls=tuple(rules),
    )


def _allow(*names: str, when: tuple[int, str, int] | None = None) -> oci.LinuxSyscall:
    args = (oci.LinuxSeccompArg(index=when[0], value=when[2], op="SCMP_CMP_" + when[1]),) if when else ()
    return oci.LinuxSyscall(names=names, action="SCMP_ACT_ALLOW", args=args)


# -- profile files ---------------------------------------------------------------------------------------------------


class _Condition(oci.Oci, frozen=True):
    caps: tuple[str, ...] = ()
    arches: tuple[str, ...] = ()
    min_kernel: str = ""


class _Rule(oci.Oci, frozen=True):
    action: str
    names: tuple[str, ...] = ()
    name: str = ""
    errno_ret: oci.U32 | None = None
    args: tuple[oci.LinuxSeccompArg, ...] = ()
    includes: _Condition = _Condition()
    excludes: _Condition = _Condition()


class _ArchMap(oci.Oci, frozen=True):
    architecture: str
    sub_architectures: tuple[str, ...] = ()


class _Profile(oci.Oci, frozen=True):
    default_action: str
    default_errno_ret: oci.U32 | None = None
    architectures: tuple[str, ...] = ()
    arch_map: tuple[_ArchMap, ...] = ()
    flags: tuple[str, ...] = ()
    listener_path: str = ""
    listener_metadata: str = ""
    syscalls: tuple[_Rule, ...] = ()


def load_profile(
    raw: bytes, caps: tuple[str, ...] | frozenset[str], arch: str | None = None, *, name: str = "seccomp profile"
) -> oci.LinuxSeccomp:
    """A profile in Docker's JSON (conditional rules, archMap) or OCI's, resolved for `caps`, `arch` and this kernel.

    Raises InvalidSpec with one line that names the profile and the JSON path."""
    given = decode_as(_Profile, raw, name)
    if given.architectures and given.arch_map:
        raise InvalidSpec(f"{name}: use either 'architectures' or 'archMap', not both")
    arch = arch or machine()
    rules = []
    for index, rule in enumerate(given.syscalls):
        where = f"{name}: $.syscalls[{index}]"
        if rule.name and rule.names:
            raise InvalidSpec(f"{where}: use either 'name' or 'names', not both")
        if _applies(rule, frozenset(caps), arch, where):
            names = (rule.name,) if rule.name else rule.names
            rules.append(oci.LinuxSyscall(names=names, action=rule.action, errno_ret=rule.errno_ret, args=rule.args))
    return oci.LinuxSeccomp(
        default_action=given.default_action,
        default_errno_ret=given.default_errno_ret,
        architectures=given.architectures or _from_map(given.arch_map, arch),
        flags=given.flags,
        listener_path=given.listener_path,
        listener_metadata=given.listener_metadata,
        syscalls=tuple(rules),
    )


def _applies(rule: _Rule, caps: frozenset[str], arch: str, where: str) -> bool:
    inc, exc = rule.includes, rule.excludes
    if arch in exc.arches or caps.intersection(exc.caps):
        return False
    if exc.min_kernel and kernel_version() >= _kernel(exc.min_kernel, where):
        return False
    if inc.arches and arch not in inc.arches:
        return False
    if not caps.issuperset(inc.caps):
        return False
    return not inc.min_kernel or kernel_version() >= _kernel(inc.min_kernel, where)


def _kernel(text: str, where: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,3})\.(\d{1,3})", text)
    if not found or text == "0.0":
        raise InvalidSpec(f'{where}: invalid kernel version: "{text}", expected "<kernel>.<major>"')
    return int(found[1]), int(found[2])


def _from_map(entries: tuple[_ArchMap, ...], arch: str) -> tuple[str, ...]:
    native = "SCMP_ARCH_" + SUB_ARCHITECTURES.get(arch, ("",))[0]
    for entry in entries:
        if entry.architecture == native:
            return (entry.architecture, *entry.sub_architectures)
    return ()

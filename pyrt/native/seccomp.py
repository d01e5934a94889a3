"""OCI seccomp policies -> BPF programs, by libseccomp, loaded only when nothing is cached.

`compile_filter` costs microseconds for a policy that was compiled before: in memory, by the object's identity, else
in a file named by the digest of everything that shapes the program. A true compile costs milliseconds and loads
libseccomp.so.2 with ctypes (no C parser, no compiled binding, so neither is on the start path).

Semantics follow runc, because profiles were written against it: call names that this libseccomp does not know are
passed over, a rule equal to the default action is left out, several conditions on one argument become several
rules, and calls newer than the newest one that the policy names get ENOSYS rather than the policy's errno, so that
libc can fall back.

Thread-safe. Sources: seccomp_init(3), seccomp_rule_add(3), seccomp_export_bpf(3), seccomp(2), linux/audit.h.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import stat
import struct
import threading
from typing import TYPE_CHECKING

import msgspec

from pyrt.base.errors import InvalidSpec, Unsupported, errno_words
from pyrt.base.paths import cache_dir

if TYPE_CHECKING:
    import ctypes

    from pyrt.model import oci

FORMAT = b"pyrt-seccomp-2"
"""Changes whenever this file makes other programs from the same policy."""

MAX_INSTRUCTIONS = 4096
"""BPF_MAXINSNS: the kernel takes no longer program."""

INSTRUCTION_SIZE = 8
"""Bytes of a struct sock_filter."""

ACTIONS: dict[str, int] = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
}
OPERATORS: dict[str, int] = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}
FLAGS: dict[str, int] = {
    "SECCOMP_FILTER_FLAG_TSYNC": 0,  # one thread loads the filter, and exec ends all others: nothing to synchronise
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 32,
}
NEW_LISTENER = 8
ARCHITECTURES: tuple[str, ...] = tuple(
    "SCMP_ARCH_" + name
    for name in (
        *("AARCH64", "ARM", "LOONGARCH64", "M68K", "MIPS", "MIPS64", "MIPS64N32", "MIPSEL", "MIPSEL64", "MIPSEL64N32"),
        *("PARISC", "PARISC64", "PPC", "PPC64", "PPC64LE", "RISCV64", "S390", "S390X", "SH", "SHEB"),
        *("X32", "X86", "X86_64"),
    )
)
"""Every architecture that the specification names; libseccomp may know fewer."""

_WITH_CODE = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
_PERMISSIVE = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")
_X32_BIT = 0x40000000
_OPTIMIZE_FROM = 32  # rules; libseccomp up to 2.5.4 makes nonsense of a tree without any, and short lists gain nothing
_SCMP_FLTATR_CTL_OPTIMIZE = 8
_NR_SCMP_ERROR = -1
_MAX_ERRNO = 4095

_lock = threading.Lock()
_remembered: dict[int, tuple[oci.LinuxSeccomp, bytes]] = {}


def compile_filter(policy: oci.LinuxSeccomp) -> bytes:
    """The policy as struct sock_filter[], ready for op SECCOMP.

    Raises InvalidSpec for a policy that makes no sense, Unsupported when libseccomp is missing or too old for it."""
    known = _remembered.get(id(policy))
    if known is not None and known[0] is policy:
        return known[1]
    key = _digest(policy)
    program = _read_cached(key)
    if program is None:
        check(policy)
        with _lock:
            program = _compile(policy)
        _write_cached(key, program)
    if len(_remembered) >= 64:
        _remembered.clear()
    _remembered[id(policy)] = (policy, program)  # the reference keeps the id from being used again
    return program


def filter_flags(policy: oci.LinuxSeccomp) -> int:
    """SECCOMP_FILTER_FLAG_* of the policy for op SECCOMP: what it asks for, and NEW_LISTENER when a rule notifies."""
    value = 0
    for flag in policy.flags:
        if flag not in FLAGS:
            raise InvalidSpec(f'$.linux.seccomp.flags: unknown flag "{flag}"')
        value |= FLAGS[flag]
    if any(rule.action == "SCMP_ACT_NOTIFY" for rule in policy.syscalls):
        value |= NEW_LISTENER
    return value


def check(policy: oci.LinuxSeccomp) -> None:
    """Raises InvalidSpec with the JSON path of the first thing in the policy that makes no sense; needs no
    libseccomp.
    """
    where = "$.linux.seccomp"
    if policy.default_action not in ACTIONS:
        raise InvalidSpec(f'{where}.defaultAction: unknown action "{policy.default_action}"')
    if policy.default_action == "SCMP_ACT_NOTIFY":
        raise InvalidSpec(f"{where}.defaultAction: SCMP_ACT_NOTIFY cannot be used as default action")
    _action(policy.default_action, policy.default_errno_ret, f"{where}.defaultErrnoRet")
    for arch in policy.architectures:
        if arch not in ARCHITECTURES:
            raise InvalidSpec(f'{where}.architectures: unknown architecture "{arch}"')
    filter_flags(policy)
    for index, rule in enumerate(policy.syscalls):
        _check_rule(rule, f"{where}.syscalls[{index}]")


def _check_rule(rule: oci.LinuxSyscall, where: str) -> None:
    if rule.action not in ACTIONS:
        raise InvalidSpec(f'{where}.action: unknown action "{rule.action}"')
    if not rule.names or "" in rule.names:
        raise InvalidSpec(f"{where}.names: at least one name of a system call is needed, and none may be empty")
    if rule.action == "SCMP_ACT_NOTIFY" and "write" in rule.names:
        raise InvalidSpec(f"{where}: SCMP_ACT_NOTIFY cannot be used for the write syscall")
    _action(rule.action, rule.errno_ret, f"{where}.errnoRet")
    for number, arg in enumerate(rule.args):
        if arg.op not in OPERATORS:
            raise InvalidSpec(f'{where}.args[{number}].op: unknown operator "{arg.op}"')
        if arg.index > 5:
            raise InvalidSpec(f"{where}.args[{number}].index: {arg.index}: a system call has six arguments, 0 to 5")
        if arg.value >= 1 << 64 or arg.value_two >= 1 << 64:
            raise InvalidSpec(f"{where}.args[{number}]: a value does not fit in 64 bits")


def _action(name: str, code: int | None, where: str) -> int:
    if name not in _WITH_CODE:
        return ACTIONS[name]
    if code is not None and code > (_MAX_ERRNO if name == "SCMP_ACT_ERRNO" else 0xFFFF):
        raise InvalidSpec(f"{where}: {code} is not an errno")
    return ACTIONS[name] | (errno.EPERM if code is None else code)


# -- the cache -------------------------------------------------------------------------------------------------------


def _digest(policy: oci.LinuxSeccomp) -> str:
    made_of = hashlib.sha256(FORMAT)
    made_of.update(f"\0{os.uname().machine}\0{_library_identity()}\0".encode())
    made_of.update(msgspec.json.encode(policy))
    return made_of.hexdigest()


def _library_dirs() -> list[str]:
    machine = os.uname().machine
    asked = [d for d in os.environ.get("LD_LIBRARY_PATH", "").split(":") if d]
    triplet = {"i686": "i386-linux-gnu", "armv7l": "arm-linux-gnueabihf", "ppc64le": "powerpc64le-linux-gnu"}.get(
        machine, f"{machine}-linux-gnu"
    )
    return [*asked, f"/lib/{triplet}", f"/usr/lib/{triplet}", "/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib"]


@functools.cache
def _library_identity() -> str:
    """Which libseccomp would be loaded, without loading it: path, size and age; where it is hidden, its version."""
    for folder in _library_dirs():
        path = f"{folder}/libseccomp.so.2"
        try:
            seen = os.stat(path)
        except OSError:
            continue
        return f"{os.path.realpath(path)} {seen.st_size} {seen.st_mtime_ns}"
    found = version()
    return f"version {found}" if found else "none"


def _cache_path(key: str) -> str:
    return os.path.join(cache_dir(), "seccomp", key)


def _read_cached(key: str) -> bytes | None:
    """The cached program; None if there is none, or if it is damaged or not our own."""
    try:
        fd = os.open(_cache_path(key), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        seen = os.fstat(fd)
        if not stat.S_ISREG(seen.st_mode) or seen.st_uid != os.geteuid() or seen.st_mode & 0o022:
            return None
        raw = os.read(fd, 32 + MAX_INSTRUCTIONS * INSTRUCTION_SIZE + 1)
    except OSError:
        return None
    finally:
        os.close(fd)
    program = raw[32:]
    if not program or len(program) % INSTRUCTION_SIZE or hashlib.sha256(program).digest() != raw[:32]:
        return None
    return program


def _write_cached(key: str, program: bytes) -> None:
    path = _cache_path(key)
    temporary = f"{path}.{os.getpid()}.{threading.get_ident()}"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with open(fd, "wb") as file:
                file.write(hashlib.sha256(program).digest() + program)
            os.rename(temporary, path)
        except OSError:
            os.unlink(temporary)
    except OSError:
        pass  # a cache that cannot be written only costs time


# -- libseccomp ------------------------------------------------------------------------------------------------------


@functools.cache
def _library() -> ctypes.CDLL | None:
    import ctypes

    try:
        lib = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    except OSError:
        return None
    context, number, text, pointer = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p
    u32 = ctypes.c_uint32
    signatures: tuple[tuple[str, type | None, tuple[type, ...]], ...] = (
        ("seccomp_init", context, (u32,)),
        ("seccomp_release", None, (context,)),
        ("seccomp_attr_set", number, (context, number, u32)),
        ("seccomp_arch_add", number, (context, u32)),
        ("seccomp_arch_native", u32, ()),
        ("seccomp_arch_resolve_name", u32, (text,)),
        ("seccomp_syscall_resolve_name", number, (text,)),
        ("seccomp_syscall_resolve_name_arch", number, (u32, text)),
        ("seccomp_rule_add_array", number, (context, u32, number, ctypes.c_uint, pointer)),
        ("seccomp_export_bpf", number, (context, number)),
        ("seccomp_version", pointer, ()),
    )
    for name, result, arguments in signatures:
        function = getattr(lib, name, None)
        if function is None:
            return None
        function.restype, function.argtypes = result, arguments
    return lib


def version() -> str | None:
    """libseccomp's version ("2.5.4"), None when it is not installed."""
    lib = _library()
    if lib is None:
        return None
    import ctypes

    return "{}.{}.{}".format(*ctypes.cast(lib.seccomp_version(), ctypes.POINTER(ctypes.c_uint * 3)).contents)


def supported_flags() -> tuple[str, ...]:
    """The filter flags that this kernel takes (asked with a NULL program: EFAULT means that the flags were fine)."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    number = {"x86_64": 317, "aarch64": 277, "riscv64": 277, "loongarch64": 277, "s390x": 348, "ppc64le": 358}.get(os.uname().machine)
    if number is None:
        return ()

    def takes(flags: int) -> bool:
        set_mode_filter = 1
        libc.syscall(ctypes.c_long(number), ctypes.c_uint(set_mode_filter), ctypes.c_uint(flags), ctypes.c_void_p())
        return ctypes.get_errno() == errno.EFAULT

    needs_listener = FLAGS["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]
    return tuple(name for name, value in FLAGS.items() if takes(value | (NEW_LISTENER if value == needs_listener else 0)))


def _compile(policy: oci.LinuxSeccomp) -> bytes:
    lib = _library()
    if lib is None:
        raise Unsupported(
            "libseccomp.so.2 cannot be loaded, and this seccomp policy is not in the cache: "
            "install it (Debian, Ubuntu: libseccomp2), or run without a policy (seccomp=unconfined)"
        )
    default = _action(policy.default_action, policy.default_errno_ret, "")
    context = lib.seccomp_init(default)
    if not context:
        raise Unsupported(f"libseccomp {version()} or this kernel cannot do {policy.default_action}")
    try:
        archs = _add_architectures(lib, context, policy)
        if sum(len(rule.names) for rule in policy.syscalls) > _OPTIMIZE_FROM:
            lib.seccomp_attr_set(context, _SCMP_FLTATR_CTL_OPTIMIZE, 2)  # before 2.5 not known: then a long list it is
        for index, rule in enumerate(policy.syscalls):
            _add_rule(lib, context, rule, default, f"$.linux.seccomp.syscalls[{index}]")
        program = _export(lib, context)
    finally:
        lib.seccomp_release(context)
    if policy.default_action not in _PERMISSIVE and policy.default_errno_ret != errno.ENOSYS:
        program = _enosys_stub(_newest_calls(lib, policy, archs)) + program
    from pyrt.native import bpf

    program = bpf.simplify(program)
    if len(program) > MAX_INSTRUCTIONS * INSTRUCTION_SIZE:
        raise Unsupported(
            f"the seccomp policy needs {len(program) // INSTRUCTION_SIZE} BPF instructions, "
            f"the kernel takes {MAX_INSTRUCTIONS}: use fewer rules or architectures"
        )
    return program


def _add_architectures(lib: ctypes.CDLL, context: int, policy: oci.LinuxSeccomp) -> list[int]:
    """Adds them; gives libseccomp's tokens of all, the native one first (libseccomp always has that)."""
    tokens = [int(lib.seccomp_arch_native())]
    for name in policy.architectures:
        token = lib.seccomp_arch_resolve_name(name.removeprefix("SCMP_ARCH_").lower().encode())
        if not token:
            raise Unsupported(f"$.linux.seccomp.architectures: libseccomp {version()} does not know {name}")
        if token in tokens:
            continue
        result = lib.seccomp_arch_add(context, token)
        if result and result != -errno.EEXIST:
            raise Unsupported(f"$.linux.seccomp.architectures: {name} cannot be added: {errno_words(-result)}")
        tokens.append(token)
    return tokens


def _add_rule(lib: ctypes.CDLL, context: int, rule: oci.LinuxSyscall, default: int, where: str) -> None:
    action = _action(rule.action, rule.errno_ret, "")
    if action == default:
        return
    alternatives = [rule.args]
    if len({arg.index for arg in rule.args}) < len(rule.args):
        alternatives = [(arg,) for arg in rule.args]
    arrays = [_conditions(args) for args in alternatives]
    for name in rule.names:
        number = lib.seccomp_syscall_resolve_name(os.fsencode(name))
        if number == _NR_SCMP_ERROR:
            continue
        for count, array in arrays:
            result = lib.seccomp_rule_add_array(context, action, number, count, array)
            if result == -errno.EOPNOTSUPP or (result == -errno.EINVAL and rule.action == "SCMP_ACT_NOTIFY"):
                raise Unsupported(f"{where}: libseccomp {version()} or this kernel cannot do {rule.action}")
            if result and result != -errno.EEXIST:
                raise InvalidSpec(f"{where}: libseccomp refuses the rule for {name}: {errno_words(-result)}")


def _conditions(args: tuple[oci.LinuxSeccompArg, ...]) -> tuple[int, ctypes.Array[ctypes.c_char] | None]:
    """struct scmp_arg_cmp[] and its length."""
    if not args:
        return 0, None
    import ctypes

    raw = b"".join(struct.pack("=IiQQ", a.index, OPERATORS[a.op], a.value, a.value_two) for a in args)
    return len(args), ctypes.create_string_buffer(raw, len(raw))


def _export(lib: ctypes.CDLL, context: int) -> bytes:
    fd = os.memfd_create("pyrt-seccomp", os.MFD_CLOEXEC)
    try:
        result = lib.seccomp_export_bpf(context, fd)
        if result:
            raise Unsupported(f"libseccomp cannot make a program of the seccomp policy: {errno_words(-result)}")
        size = os.fstat(fd).st_size
        return os.pread(fd, size, 0)
    finally:
        with contextlib.suppress(OSError):
            os.close(fd)


# -- ENOSYS for calls that the policy's author could not know ---------------------------------------------------------


def _newest_calls(lib: ctypes.CDLL, policy: oci.LinuxSeccomp, archs: list[int]) -> dict[int, int]:
    """For each architecture's token the highest call number that the policy names, where it names any."""
    names = [os.fsencode(name) for rule in policy.syscalls for name in rule.names]
    newest = {arch: max((lib.seccomp_syscall_resolve_name_arch(arch, name) for name in names), default=0) for arch in archs}
    return {arch: number for arch, number in newest.items() if number > 0}


_LOAD, _JEQ, _JGT, _JSET, _JA, _RET = 0x20, 0x15, 0x25, 0x45, 0x05, 0x06  # linux/bpf_common.h, W|ABS and K forms
_NR_OFFSET, _ARCH_OFFSET = 0, 4  # struct seccomp_data
_AUDIT_ARCH_X86_64 = 0xC000003E
_SCMP_ARCH_X32 = 0x4000003E


def _enosys_stub(newest: dict[int, int]) -> bytes:
    """BPF to stand before a filter: calls above `newest` of their architecture return ENOSYS, all others fall
    through.

    libseccomp's tokens are the kernel's AUDIT_ARCH numbers but for x32, which shares x86-64's and sets bit 30 of
    the call's number.
    """
    if not newest:
        return b""
    refuse = (_RET, 0, 0, ACTIONS["SCMP_ACT_ERRNO"] | errno.ENOSYS)
    load = (_LOAD, 0, 0, _NR_OFFSET)
    sections: list[tuple[int, list[tuple[int, int, int, int]]]] = []
    x32 = newest.get(_SCMP_ARCH_X32)
    for arch, number in newest.items():
        if arch == _SCMP_ARCH_X32:
            continue
        if arch != _AUDIT_ARCH_X86_64:
            body = [load, (_JGT, 0, 1, number), refuse]
        elif x32 is None:
            body = [load, (_JSET, 2, 0, _X32_BIT), (_JGT, 0, 1, number), refuse]
        else:
            body = [load, (_JSET, 1, 0, _X32_BIT), (_JGT, 1, 2, number), (_JGT, 0, 1, x32), refuse]
        sections.append((arch, body))
    total = 1 + sum(len(body) + 2 for _, body in sections)
    program = [(_LOAD, 0, 0, _ARCH_OFFSET)]
    for arch, body in sections:
        program.append((_JEQ, 0, len(body) + 1, arch))
        program += body
        program.append((_JA, 0, 0, total - len(program) - 1))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)

from __future__ import annotations

import pytest

from pyrt import native as n
from pyrt.runtime.plan import constants as k
from pyrt.runtime.plan import ops
from pyrt.runtime.plan.ops import Op
from pyrt.runtime.plan.words import words


def codes() -> list[int]:
    return [code for code in range(1, n.OP_CODES) if not n.op_name(code).startswith("op ")]


@pytest.mark.parametrize("code", codes())
def test_every_op_has_words_even_with_nothing_in_it(code: int) -> None:
    for op in (
        Op(code, n.HOST, (), ()),
        Op(code, n.CONTAINER, ("",) * 5, (0,) * 5),
        Op(code, n.CONTAINER, ("x",) * 5, ((1 << 64) - 1,) * 5),
    ):
        text = words(op)
        assert text and not text.startswith("op ") and "\n" not in text


def test_a_code_that_nobody_knows() -> None:
    assert words(Op(9999, 0, (), ())) == "op 9999"


@pytest.mark.parametrize(
    ("op", "text"),
    [
        (ops.mount("proc", "/proc", "proc", [], k.MS_NOSUID | k.MS_NODEV | k.MS_NOEXEC), "mount proc on /proc nosuid,nodev,noexec"),
        (ops.mount("shm", "/dev/shm", "tmpfs", ["size=1"], 0), "mount tmpfs shm on /dev/shm size=1"),
        (
            ops.mount("overlay", "/r", "overlay", ["lowerdir+=/", "upperdir=/u"], 0, at=n.AT_HOST),
            "mount overlay on /r (host) of / upperdir=/u",
        ),
        (ops.bind("/a", "/b", k.MS_REC | k.MS_RDONLY, spread=k.MS_REC | k.MS_PRIVATE), "rbind /a on /b ro rprivate"),
        (ops.bind("", "/b", slot=4, may_miss=True), "bind slot 4 on /b if there"),
        (ops.clone(k.CLONE_NEWNS | k.CLONE_NEWPID, 1), "clone in its cgroup, new namespaces: mount pid"),
        (ops.clone(0, again=True), "clone again"),
        (ops.join_ns("/proc/1/ns/net", k.CLONE_NEWNET), "join network namespace /proc/1/ns/net"),
        (ops.device("/dev/null", k.S_IFCHR | 0o666, 1, 3, 0, 0, ""), "make device /dev/null c 1:3 0666"),
        (ops.device("/dev/f", k.S_IFIFO | 0o600, 0, 0, 1, 2, ""), "make device /dev/f p 0600 of 1:2"),
        (ops.cap_bounding(1 << 21 | 1), "bounding set chown sys_admin"),
        (ops.caps(0, 0, 0, 0), "capabilities none"),
        (ops.caps(1, 1, 2, 1), "capabilities chown, inheritable dac_override, ambient chown"),
        (ops.rlimit(7, 10, k.RLIM_INFINITY), "limit nofile to 10, at most unlimited"),
        (ops.setid(5, 6, (7, 8)), "become uid 5 gid 6 groups 7,8"),
        (ops.propagation("/", k.MS_SLAVE | k.MS_REC), "make / (host) rslave"),
        (
            ops.mount_attr("/x", k.MOUNT_ATTR_RDONLY, k.MOUNT_ATTR_NOSUID, recursive=True),
            "change mount /x and all mounts below +ro,-nosuid",
        ),
        (ops.write("/sys/x", "1\n"), "write /sys/x = 1"),
        (ops.execve(["sh", "-c", "a b"], []), "exec sh -c 'a b'"),
        (ops.find_exec("ls", "/bin"), "find ls in PATH /bin"),
        (ops.sysctl("net/ipv4/ip_forward", "1"), "sysctl net.ipv4.ip_forward = 1"),
        (ops.pdeathsig(9), "get SIGKILL when the executor dies"),
        (ops.oom_score(-17), "out-of-memory score -17"),
        (ops.ioprio(2 << 13 | 4), "I/O priority be 4"),
        (ops.mempolicy(2, b"\5", 8), "memory policy MPOL_BIND nodes 0,2"),
        (ops.userns_map("0 1000 1\n", gid=True, deny_setgroups=True), "map gids 0 1000 1 (setgroups denied)"),
        (ops.cgroup_mkdir("/c", enable=["cpu", "pids"], mount="/"), "make cgroup /c with cpu pids"),
        (ops.seccomp(b"x" * 16, 2), "seccomp filter of 2 instructions log"),
        (ops.console(0, 24, 80), "terminal on /dev/console of 80x24"),
    ],
)
def test_words(op: Op, text: str) -> None:
    assert words(op) == text


def test_long_data_is_cut() -> None:
    assert len(words(ops.execve(["x" * 500], []))) < 80

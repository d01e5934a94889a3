"""Writes corpus/plan: `python -m tests.fuzz.seeds`, from the checkout. Small plans that between them hold every op, and some that are wrong.

To be run again when the format changes; `test_targets` checks that the committed corpus still holds plans that are taken.
"""

from __future__ import annotations

from pathlib import Path

from pyrt import native
from pyrt.runtime.plan import ops
from pyrt.runtime.plan.encode import encode
from pyrt.runtime.plan.ops import Op, Plan

CORPUS = Path(__file__).parent / "corpus" / "plan"
NEW = 0x20000 | 0x20000000  # CLONE_NEWNS, CLONE_NEWPID
FDS = ops.fds(0, 0)
RUN = ops.execve(["true"], ["PATH=/bin"], file="/bin/true")
EIGHT = bytes(8)


def plans() -> dict[str, tuple[Op, ...]]:
    """Named lists of ops, each a plan that validation takes."""
    return {
        "least": (ops.clone(0), FDS, ops.execve(["true"], [], file="/bin/true")),
        "host": (
            ops.cgroup_mkdir("/sys/fs/cgroup/pyrt/a"),
            ops.cgroup_open("/sys/fs/cgroup/pyrt/a", 1),
            ops.cgroup_devices("/sys/fs/cgroup/pyrt/a", EIGHT * 2),
            ops.write("/sys/fs/cgroup/pyrt/a/pids.max", "10"),
            ops.mkdir_host("/run/pyrt/a", 0o700, undo=True),
            ops.listen("/run/pyrt/a/start", 2),
            ops.connect("/run/console", 3),
            ops.idmap_userns(4, "0 1000 1\n", "0 1000 1\n"),
            ops.open_tree("/srv", 5, userns_slot=4),
            ops.clone(NEW | 0x10000000, 1),
            ops.userns_map("0 0 1\n", gid=False),
            ops.userns_map("0 0 1\n", gid=True, deny_setgroups=True),
            ops.cgroup_attach("/sys/fs/cgroup/pids/a", host=True),
            ops.hook("/bin/hook", ["hook", "a"], ["A=b"], 5, "{", "}", host=True),
            ops.usage("/sys/fs/cgroup/pyrt/a/cpu.stat", 0, "usage_usec", 1000),
            ops.cgroup_kill("/sys/fs/cgroup/pyrt/a"),
            ops.rmtree("/run/pyrt/a"),
            FDS,
            ops.gate(2),
            RUN,
        ),
        "root": (
            ops.clone(NEW),
            ops.netns_make(),
            ops.propagation("/", 0x44000),
            ops.mount("tmpfs", "/run/pyrt/mnt", "tmpfs", ["mode=755"], 6, at=native.AT_HOST),
            ops.mkdir("/run/pyrt/mnt/u", at=native.AT_HOST),
            ops.root("/run/pyrt/mnt/u", bind_itself=True),
            ops.write_file("/etc/hosts", b"127.0.0.1 localhost\n"),
            ops.bind("/tmp", "/data", 0x5000),
            ops.mount_attr("/data", 1, 0, recursive=True),
            ops.symlink("/proc/self/fd", "/dev/fd"),
            ops.device("/dev/null", 0o20666, 1, 3, 0, 0, "/dev/null"),
            ops.mask("/proc/kcore"),
            ops.readonly("/proc/sys"),
            ops.pivot(),
            ops.netns_enter(),
            FDS,
            RUN,
        ),
        "process": (
            ops.connect("/run/console", 3),
            ops.clone(NEW),
            ops.join_ns("/proc/1/ns/net", 0x40000000),
            ops.unshare(0x02000000),
            ops.time_offsets("monotonic 1 0\n"),
            ops.pdeathsig(9),
            ops.setsid(),
            ops.console(3, 24, 80),
            ops.hostname("box"),
            ops.domainname("example"),
            ops.sysctl("net/ipv4/ip_forward", "1"),
            ops.loopback(),
            ops.rlimit(7, 1024, 1024),
            ops.oom_score(-5),
            ops.scheduler(bytes(48)),
            ops.ioprio(4),
            ops.nice(-3),
            ops.mempolicy(2, EIGHT, 1),
            ops.personality(0),
            ops.umask(0o22),
            ops.keyring("_ses.a"),
            ops.cap_bounding(0xFF),
            ops.setid(1, 2, [3, 4]),
            ops.caps(1, 1, 0, 0),
            ops.apparmor("profile"),
            ops.selinux("a:b:c"),
            ops.no_new_privs(),
            ops.seccomp(EIGHT * 3),
            ops.fds(2, 0),
            ops.init(),
            ops.cwd("/"),
            ops.find_exec("true", "/bin:/usr/bin"),
            ops.execve(["true"], []),
        ),
    }


def main() -> None:
    CORPUS.mkdir(parents=True, exist_ok=True)
    for name, listed in plans().items():
        raw = encode(Plan(listed, slots=2))
        native.validate(raw)
        (CORPUS / name).write_bytes(raw)
        (CORPUS / f"{name}-cut").write_bytes(raw[:-9])
    least = encode(Plan(plans()["least"], slots=0))
    (CORPUS / "reversed").write_bytes(encode(Plan(plans()["least"][::-1], slots=0)))
    (CORPUS / "version").write_bytes(least[:4] + b"\x09\x00" + least[6:])
    (CORPUS / "huge-count").write_bytes(least[:12] + b"\xff\xff\xff\xff" + least[16:])
    (CORPUS / "empty").write_bytes(b"")


if __name__ == "__main__":
    main()

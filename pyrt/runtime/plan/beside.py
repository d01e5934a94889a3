"""The one thing that two CPUs do at once: a network namespace is made while the child mounts.

Making one is the dearest step of a start, and nothing needs it before sysfs is mounted. So, where that is all the same to the
container, the clone leaves it out, the executor makes it (and enters it itself: it has no further use for the host's), and
the child joins it just before the first op that sees it.
"""

from __future__ import annotations

from pyrt import native as n
from pyrt.runtime.plan import constants as k
from pyrt.runtime.plan import ops
from pyrt.runtime.plan.build import Build
from pyrt.runtime.plan.ops import Op

__all__ = ["network_beside"]


def network_beside(build: Build) -> None:
    """Rewrites the ops after the clone, if it can be done: one clone, no user namespace (it would have to own the network), and
    no turn of the host's later (hooks see the host's network)."""
    found = build.after
    clone = found[0]
    flags = clone.n[0]
    if clone.code != n.OP_CLONE or not flags & k.CLONE_NEWNET or flags & k.CLONE_NEWUSER:
        return
    if any(op.side == n.HOST or op.code == n.OP_CLONE for op in found[1:]):
        return
    at = next((index for index, op in enumerate(found) if _sees_the_network(op)), None)
    if at is None:
        return
    why = build.why("linux.namespaces")
    up = any(op.code == n.OP_LOOPBACK for op in found)
    head = [
        Op(clone.code, clone.side, clone.s, (flags & ~k.CLONE_NEWNET, *clone.n[1:]), clone.why, clone.flags),
        ops.netns_make(why, loopback=up),
    ]
    rest = [*found[1:at], ops.netns_enter(why), *found[at:]]
    build.after[:] = head + [op for op in rest if op.code != n.OP_LOOPBACK]


def _sees_the_network(op: Op) -> bool:
    """sysfs and sysctls show the network namespace of who mounts or opens them; hooks and the program run in it."""
    if op.code == n.OP_MOUNT:
        return op.s[2] in ("sysfs", b"sysfs")
    return op.code in (n.OP_SYSCTL, n.OP_HOOK, n.OP_PIVOT, n.OP_SETID, n.OP_CAPS, n.OP_SECCOMP, n.OP_GATE, n.OP_EXEC)

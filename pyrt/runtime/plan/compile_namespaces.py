"""The turn: one clone or two, namespaces made and joined, id maps, cgroups entered.

One clone is enough unless a pid namespace is joined (setns(2) moves only children there), a new user namespace is made while
others are joined (the joined ones belong to somebody else, so they come first), new namespaces shall belong to a joined
user namespace, or limits have to be raised before a user namespace takes the right to do so.
"""

from __future__ import annotations

from msgspec import Struct

from pyrt.base.errors import Unsupported
from pyrt.model import oci
from pyrt.runtime.plan import constants as k
from pyrt.runtime.plan import ops
from pyrt.runtime.plan.build import Build
from pyrt.runtime.plan.compile_cgroup import Cgroups
from pyrt.runtime.plan.compile_limits import needs_rights, raise_limits

__all__ = ["Identity", "compile_turn", "join", "map_text", "protect", "time_text"]

_TIME_AT_EXEC = (6, 2)
"""Since this kernel a new time namespace is entered by execve(2), before only by a child."""


class Identity(Struct, frozen=True):
    """What the user namespace means for later ops. ``new`` or ``joined`` user namespace; ``setgroups`` is allowed."""

    new: bool = False
    joined: bool = False
    setgroups: bool = True

    @property
    def inside(self) -> bool:
        """The container is in a user namespace that is not the caller's."""
        return self.new or self.joined


def compile_turn(build: Build, cgroups: Cgroups) -> Identity:
    """Ops from the clone to a process that has all its namespaces (but the mount namespace that is joined comes last)."""
    new, joins = build.new_namespaces(), build.joined()
    identity = Identity(bool(new & k.CLONE_NEWUSER), "user" in joins, True)
    helper = _map_helpers(build) if identity.new else None
    if helper is not None:
        identity = Identity(identity.new, identity.joined, helper.setgroups)
    time_late = bool(new & k.CLONE_NEWTIME) and build.facts.kernel >= _TIME_AT_EXEC
    process = build.spec.process
    raised = identity.inside and build.facts.euid == 0 and process is not None and needs_rights(process)
    again = (
        "pid" in joins
        or (identity.new and bool(joins))
        or ("user" in joins and bool(new))
        or (bool(new & k.CLONE_NEWTIME) and not time_late)
        or raised
    )
    cloned = new & ~(k.CLONE_NEWCGROUP | k.CLONE_NEWTIME)
    why = build.why("linux.namespaces")
    if again:
        # From inside another cgroup namespace the kernel may not find the cgroup (nsdelegate): then the first one goes there.
        first_slot = cgroups.slot if "cgroup" in joins else None
        _first_clone(build, cgroups, joins, first_slot, early=raised, new_time=bool(new & k.CLONE_NEWTIME) and not time_late)
        build.after.append(ops.clone(cloned, None if first_slot is not None else cgroups.slot, why, again=True))
    else:
        build.after.append(ops.clone(cloned, cgroups.slot, why))
    if identity.new:
        _maps(build, helper or _Helpers())
    protect(build)
    if not again:
        build.after += cgroups.attach
        join(build, {kind: path for kind, path in joins.items() if kind != "mount"})
    if new & k.CLONE_NEWCGROUP:  # after attaching: its root is the cgroup of this moment
        build.after.append(ops.unshare(k.CLONE_NEWCGROUP, build.why(_space(build, "cgroup"))))
    if new & k.CLONE_NEWTIME and time_late:
        _new_time(build)
    if not raised and process is not None:
        raise_limits(build, process)
    if identity.inside:
        build.after.append(ops.setid(0, 0, (), build.why(_space(build, "user")), keep_groups=True))
    if "mount" in joins and not again:
        join(build, {"mount": joins["mount"]})
    return identity


def _first_clone(build: Build, cgroups: Cgroups, joins: dict[str, str], slot: int | None, *, early: bool, new_time: bool) -> None:
    """The process that enters what is there already, and then gives birth to the container's own. ``early``: with limits."""
    build.after.append(ops.clone(0, slot, build.why("linux.namespaces")))
    build.after += cgroups.attach
    process = build.spec.process
    if early and process is not None:
        raise_limits(build, process)
    join(build, joins)
    if new_time:
        _new_time(build)


def protect(build: Build) -> None:
    """A session of its own, and an end with the executor's."""
    if build.opt.foreground:
        build.after.append(ops.pdeathsig(k.SIGKILL, "foreground"))
    build.after.append(ops.setsid("default"))


def _space(build: Build, kind: str) -> str:
    for index, space in enumerate(build.linux.namespaces):
        if space.type == kind:
            return f"linux.namespaces[{index}]"
    return "linux.namespaces"


def join(build: Build, joins: dict[str, str]) -> None:
    """Joins namespaces by path. Root enters a user namespace last, since it has every right in the others from outside; anybody
    else gets rights by entering it first. The mount namespace comes after those that are found by a path."""
    order = [kind for kind in k.NAMESPACES if kind in joins and kind not in ("user", "mount")]
    if "mount" in joins:
        order.append("mount")
    if "user" in joins:
        order = [*order, "user"] if build.facts.euid == 0 else ["user", *order]
    for kind in order:
        build.after.append(ops.join_ns(joins[kind], k.NAMESPACES[kind], build.why(_space(build, kind))))


# -- time ------------------------------------------------------------------------------------------------------------


def time_text(offsets: dict[str, oci.LinuxTimeOffset]) -> str:
    """/proc/PID/timens_offsets (time_namespaces(7))."""
    return "".join(f"{clock} {offset.secs} {offset.nanosecs}\n" for clock, offset in offsets.items())


def _new_time(build: Build) -> None:
    build.after.append(ops.unshare(k.CLONE_NEWTIME, build.why(_space(build, "time"))))
    text = time_text(build.linux.time_offsets)
    if text:
        build.after.append(ops.time_offsets(text, build.why("linux.timeOffsets")))


# -- id maps ---------------------------------------------------------------------------------------------------------


class _Helpers(Struct, frozen=True):
    uid: str = ""
    gid: str = ""
    setgroups: bool = True


def map_text(mappings: tuple[oci.IDMapping, ...]) -> str:
    """/proc/PID/uid_map (user_namespaces(7))."""
    return "".join(f"{entry.container_id} {entry.host_id} {entry.size}\n" for entry in mappings)


def _map_helpers(build: Build) -> _Helpers:
    """Who writes the maps: root the executor itself; others newuidmap, unless it is only their own id."""
    facts, linux = build.facts, build.linux
    if facts.euid == 0:
        return _Helpers()
    own_uid = len(linux.uid_mappings) == 1 and linux.uid_mappings[0].size == 1 and linux.uid_mappings[0].host_id == facts.euid
    own_gid = len(linux.gid_mappings) == 1 and linux.gid_mappings[0].size == 1 and linux.gid_mappings[0].host_id == facts.egid
    for own, program, name, path in (
        (own_uid, facts.newuidmap, "newuidmap", "linux.uidMappings"),
        (own_gid, facts.newgidmap, "newgidmap", "linux.gidMappings"),
    ):
        if not own and not program:
            raise Unsupported(f"{build.why(path)}: mapping more than one's own id needs {name}: install the package uidmap")
    return _Helpers("" if own_uid else facts.newuidmap, "" if own_gid else facts.newgidmap, not own_gid)


def _maps(build: Build, helpers: _Helpers) -> None:
    linux = build.linux
    uid_why, gid_why = build.why("linux.uidMappings"), build.why("linux.gidMappings")
    build.after.append(ops.userns_map(map_text(linux.uid_mappings), gid=False, helper=helpers.uid, why=uid_why))
    deny = not helpers.setgroups
    build.after.append(ops.userns_map(map_text(linux.gid_mappings), gid=True, helper=helpers.gid, deny_setgroups=deny, why=gid_why))

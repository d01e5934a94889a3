"""The spec's mounts, in their order."""

from __future__ import annotations

import posixpath

from pyrt import native as n
from pyrt.base.errors import InvalidSpec
from pyrt.model import oci
from pyrt.runtime.plan import constants as k
from pyrt.runtime.plan import ops
from pyrt.runtime.plan.build import Build, inside
from pyrt.runtime.plan.compile_cgroup import Cgroups
from pyrt.runtime.plan.compile_namespaces import Identity, map_text
from pyrt.runtime.plan.mount_options import MountOptions, attributes, parse

__all__ = ["compile_mounts", "compile_readonly"]

_LABELLED = ("tmpfs", "devpts", "overlay")
_IDMAP_TOP_ONLY = 2  # OPEN_TREE n0: id map and attributes on the top mount only


def compile_mounts(build: Build, cgroups: Cgroups, identity: Identity) -> list[str]:
    """Appends all mounts. Gives back the destinations that shall be read-only once everything below them is in place."""
    mounts = build.spec.mounts
    places = [inside(mount.destination) for mount in mounts]
    later: list[str] = []
    for index, mount in enumerate(mounts):
        target, why = places[index], build.why(f"mounts[{index}]")
        options = parse(mount.options)
        if options.flags & k.MS_REMOUNT:
            _remount(build, target, options, why)
        elif options.is_bind or mount.type == "bind":
            _bind(build, mount, target, options, identity, f"mounts[{index}]", why)
        elif mount.type in ("cgroup", "cgroup2"):
            _cgroup(build, mount.type, target, options, cgroups, identity, why)
        elif mount.type in ("", "none"):
            if not options.spread:
                raise InvalidSpec("a mount needs a type, or one of bind, rbind, remount and a propagation", f"mounts[{index}]")
            build.after.append(ops.propagation(target, options.spread, why, at=n.AT_ROOT))
        elif not _instead(build, mount, target, options, identity, why):
            _new(build, mount, target, options, later, places[index + 1 :], why)
    return later


def compile_readonly(build: Build, targets: list[str]) -> None:
    """Mounts that things were put into turn read-only."""
    for target in targets:
        build.after.append(ops.mount_attr(target, k.MOUNT_ATTR_RDONLY, 0, "ro"))


def _new(build: Build, mount: oci.Mount, target: str, options: MountOptions, later: list[str], following: list[str], why: str) -> None:
    flags, data = options.flags, list(options.data)
    if mount.type == "devpts":
        data = _mapped_gid(build, data)
    if mount.type in _LABELLED and build.linux.mount_label and "selinux" in build.facts.lsms:
        data.append(f"context={build.linux.mount_label}")
    if mount.type == "tmpfs" and flags & k.MS_RDONLY and _filled(target, following):
        flags &= ~k.MS_RDONLY
        later.append(target)
    build.after.append(ops.mount(mount.source or mount.type, target, mount.type, data, flags, why, spread=options.spread))
    _recursive(build, target, options, why)


def _filled(target: str, following: list[str]) -> bool:
    below = target.rstrip("/") + "/"
    return target == "/dev" or any(place.startswith(below) for place in following)


def _mapped_gid(build: Build, data: list[str]) -> list[str]:
    """The terminals' usual group is not there in a user namespace that does not map it: then they stay with their user."""
    ranges = build.linux.gid_mappings
    if not ranges:
        return data
    kept = []
    for option in data:
        key, _, value = option.partition("=")
        mapped = value.isdigit() and any(r.container_id <= int(value) < r.container_id + r.size for r in ranges)
        if key != "gid" or mapped:
            kept.append(option)
    return kept


def _instead(build: Build, mount: oci.Mount, target: str, options: MountOptions, identity: Identity, why: str) -> bool:
    """In a user namespace the kernel mounts these only for a namespace of its own; else the host's are bound."""
    if not identity.inside:
        return False
    needs = {"proc": ("pid", "/proc"), "sysfs": ("network", "/sys"), "mqueue": ("ipc", "/dev/mqueue")}.get(mount.type)
    if needs is None or build.has_namespace(needs[0]):
        return False
    source = needs[1]
    build.after.append(ops.bind(source, target, options.flags | k.MS_REC, why, spread=options.spread, may_miss=mount.type == "mqueue"))
    return True


def _recursive(build: Build, target: str, options: MountOptions, why: str) -> None:
    if options.rec_set or options.rec_clear:
        build.after.append(ops.mount_attr(target, options.rec_set, options.rec_clear, why, recursive=True))


def _remount(build: Build, target: str, options: MountOptions, why: str) -> None:
    on, off = attributes(options.flags)
    off |= attributes(options.cleared & ~(k.MS_NOATIME | k.MS_RELATIME | k.MS_STRICTATIME))[0]
    if on or off:
        build.after.append(ops.mount_attr(target, on, off, why))
    if options.spread:
        build.after.append(ops.propagation(target, options.spread, why, at=n.AT_ROOT))
    _recursive(build, target, options, why)


# -- binds -----------------------------------------------------------------------------------------------------------


def _bind(build: Build, mount: oci.Mount, target: str, options: MountOptions, identity: Identity, path: str, why: str) -> None:
    if not mount.source:
        raise InvalidSpec("a bind mount needs a source", f"{path}.source")
    source = posixpath.normpath(posixpath.join(build.opt.bundle, mount.source))
    flags = options.flags & ~k.MS_BIND
    idmap = _idmap(build, mount, options, path, why)
    if idmap is not None or (identity.new and build.facts.euid == 0):
        # Taken by the executor: the container's root may not be able to reach it, or to map ids.
        slot = build.new_slot()
        recursive = bool(flags & k.MS_REC)
        op = ops.open_tree(source, slot, why, recursive=recursive, userns_slot=idmap)
        if idmap is not None and recursive and options.idmap != "ridmap":
            op = ops.Op(op.code, op.side, op.s, (op.n[0] | _IDMAP_TOP_ONLY, *op.n[1:]), op.why)
        build.before.append(op)
        build.after.append(ops.bind("", target, flags, why, spread=options.spread, slot=slot))
    else:
        build.after.append(ops.bind(source, target, flags, why, spread=options.spread))
    _recursive(build, target, options, why)


def _idmap(build: Build, mount: oci.Mount, options: MountOptions, path: str, why: str) -> int | None:
    """The slot of a user namespace that says how ids are mapped, or None for a plain bind."""
    if not (mount.uid_mappings or mount.gid_mappings or options.idmap):
        return None
    uids, gids = mount.uid_mappings, mount.gid_mappings
    if not uids and not gids:  # the option alone means: as the container's user namespace
        joined = build.joined().get("user")
        if joined:
            slot = build.new_slot()
            build.before.append(ops.idmap_userns(slot, "", "", why, path=joined))
            return slot
        uids, gids = build.linux.uid_mappings, build.linux.gid_mappings
    if not uids or not gids:
        raise InvalidSpec("an id-mapped mount needs uidMappings and gidMappings", path)
    slot = build.new_slot()
    build.before.append(ops.idmap_userns(slot, map_text(uids), map_text(gids), why))
    return slot


# -- cgroup file systems ---------------------------------------------------------------------------------------------


def _cgroup(build: Build, kind: str, target: str, options: MountOptions, cgroups: Cgroups, identity: Identity, why: str) -> None:
    facts = build.facts
    if kind == "cgroup2" or facts.mode == "v2":
        _cgroup_v2(build, target, options, identity, why)
    elif cgroups.layout.v2 and not cgroups.layout.v1 and build.has_namespace("cgroup"):
        _cgroup_v2(build, target, options, identity, why)  # it has no other: one mount instead of two
    elif facts.mode in ("v1", "hybrid"):
        _cgroup_v1(build, target, options, cgroups, why)
    else:
        build.after.append(ops.mount("tmpfs", target, "tmpfs", ["mode=755"], options.flags | k.MS_RDONLY, why))


def _cgroup_v2(build: Build, target: str, options: MountOptions, identity: Identity, why: str) -> None:
    unified = build.facts.unified
    if unified is None:
        raise InvalidSpec(f"{why}: this machine has no cgroup v2 to mount on {target}")
    if build.has_namespace("cgroup"):
        build.after.append(ops.mount("cgroup", target, "cgroup2", options.data, options.flags, why, spread=options.spread))
    else:
        flags = options.flags | (k.MS_REC if identity.inside else 0)
        build.after.append(ops.bind(unified.mount, target, flags, why, spread=options.spread))


def _cgroup_v1(build: Build, target: str, options: MountOptions, cgroups: Cgroups, why: str) -> None:
    """A tmpfs with the container's own directory of each hierarchy that it has one in."""
    flags, add = options.flags, build.after.append
    readonly = flags & k.MS_RDONLY
    add(ops.mount("tmpfs", target, "tmpfs", ["mode=755"], flags & ~k.MS_RDONLY, why))
    entries = cgroups.layout.entries or tuple((h, h.own) for h in build.facts.hierarchies if h.own)
    for hierarchy, directory in entries:
        name = posixpath.basename(hierarchy.mount)
        add(ops.bind(directory, f"{target}/{name}", flags, why))
        if "," in name:
            for alias in name.split(","):
                add(ops.symlink(name, f"{target}/{alias}", why))
    if readonly:
        add(ops.mount_attr(target, k.MOUNT_ATTR_RDONLY, 0, why))

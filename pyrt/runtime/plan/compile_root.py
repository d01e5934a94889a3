"""The root file system: propagation, a directory bound onto itself or a throw-away overlay, and the pivot."""

from __future__ import annotations

import os
import posixpath
import stat

from pyrt import native as n
from pyrt.base.errors import InvalidSpec, Unsupported
from pyrt.runtime.overlay_root import ExtraLayer, OverlayRoot
from pyrt.runtime.plan import constants as k
from pyrt.runtime.plan import ops
from pyrt.runtime.plan.build import Build, inside

__all__ = ["compile_pivot", "compile_root", "root_path"]

_PROPAGATION = {
    "shared": k.MS_SHARED,
    "rshared": k.MS_SHARED | k.MS_REC,
    "slave": k.MS_SLAVE,
    "rslave": k.MS_SLAVE | k.MS_REC,
    "private": k.MS_PRIVATE,
    "rprivate": k.MS_PRIVATE | k.MS_REC,
    "unbindable": k.MS_UNBINDABLE,
    "runbindable": k.MS_UNBINDABLE | k.MS_REC,
}


_STAND_IN = "/etc"
"""A directory that every host has and no op needs: in the container's own mount namespace a root may stand on it."""
_LAYERS_ONE_BY_ONE = (6, 7)
"""Since this kernel overlay takes "lowerdir+", a layer each."""
_OPTION_LIMIT = 255
"""Bytes that fsconfig(2) takes for a string."""


def root_path(build: Build) -> str:
    """The host path of the spec's root directory. Raises InvalidSpec when it names none."""
    root = build.spec.root
    if root is None or not root.path:
        raise InvalidSpec("the path of the root file system is missing", "root.path")
    return posixpath.normpath(posixpath.join(build.opt.bundle, root.path))


def compile_root(build: Build) -> None:
    """From the mount namespace as it was copied to a root that later paths are inside of."""
    overlay = build.opt.overlay
    where = _scratch(build) if overlay else root_path(build)
    if build.has_namespace("mount"):
        _detach_from_host(build, where)
    elif overlay:
        raise Unsupported(f"{build.why('linux.namespaces')}: a throw-away root needs a mount namespace of its own")
    if overlay:
        build.before.append(ops.mkdir_host(where, 0o700, build.why("root.path")))
        _overlay(build, overlay, where)
    else:
        _directory(build, where)


def _directory(build: Build, where: str) -> None:
    """The root is a directory of the host. In a new user namespace the container's root may not be able to reach it there (a
    bundle below a folder of mode 0700): then root takes it beforehand and puts it where nothing is in its way."""
    why = build.why("root.path")
    if not build.new_namespaces() & k.CLONE_NEWUSER or build.facts.euid != 0 or not build.has_namespace("mount"):
        build.after.append(ops.root(where, why, bind_itself=True))
        return
    slot = build.new_slot()
    build.before.append(ops.open_tree(where, slot, why, recursive=True))
    build.after.append(ops.bind("", _STAND_IN, k.MS_REC, why, at=n.AT_HOST, slot=slot, make_target=False))
    build.after.append(ops.root(_STAND_IN, why))


def _scratch(build: Build) -> str:
    return f"{build.opt.run_dir.rstrip('/')}/mnt"


def _detach_from_host(build: Build, where: str) -> None:
    """Mounts of the container must not reach the host. With shared propagation the host's mounts stay peers of the
    container's, and only the mount on which the root is put leaves the group."""
    wanted = build.linux.rootfs_propagation
    why = build.why("linux.rootfsPropagation") if wanted else "default"
    flags = _PROPAGATION.get(wanted)
    if wanted and flags is None:
        raise InvalidSpec(f"{wanted!r} is none of {', '.join(_PROPAGATION)}", "linux.rootfsPropagation")
    if flags is not None and flags & k.MS_SHARED:
        build.after.append(ops.propagation("/", flags, why))
        build.after.append(ops.propagation(_mount_point(where), k.MS_PRIVATE, why))
    elif flags is not None and flags & k.MS_PRIVATE:
        build.after.append(ops.propagation("/", k.MS_PRIVATE | k.MS_REC, why))
    else:
        build.after.append(ops.propagation("/", k.MS_SLAVE | k.MS_REC, why))


def _mount_point(path: str) -> str:
    """The mount that `path` is on."""
    path = os.path.realpath(path)
    while not os.path.ismount(path):
        parent = posixpath.dirname(path)
        if parent == path:
            break
        path = parent
    return path


# -- overlay ---------------------------------------------------------------------------------------------------------


def _owner_and_mode(path: str) -> tuple[int, int, int]:
    """(mode, uid, gid) that the top of an upper layer must have, so that the merged directory looks as the lower one does."""
    try:
        info = os.stat(path)
    except OSError:
        return 0o755, 0, 0
    return stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid


def _overlay(build: Build, overlay: OverlayRoot, scratch: str) -> None:
    """All layers share one tmpfs: u, u1, … are their upper directories, w, w1, … their work directories, l, l1, … detached
    lower ones, and r is where the root is put together."""
    why = build.why("root.path")
    add = build.after.append
    add(ops.mount("tmpfs", scratch, "tmpfs", ["mode=0755"], k.MS_NOSUID | k.MS_NODEV, why, at=n.AT_HOST, make_target=False))
    merged = f"{scratch}/r"
    if overlay.lower:
        _layer_directories(build, scratch, "", overlay.lower[0], why)
        _files(build, overlay, "/", f"{scratch}/u")
        lower = tuple(_lower(build, overlay, path, f"{scratch}/l", why) for path in overlay.lower)
        options = _overlay_options(build, lower, scratch, "", overlay.userxattr)
        add(ops.mount("overlay", merged, "overlay", options, 0, why, at=n.AT_HOST))
        add(ops.root(merged, why))
    else:
        add(ops.mkdir(merged, 0o755, 0, 0, why, at=n.AT_HOST))
        add(ops.root(merged, why, bind_itself=True))
    for number, layer in enumerate(overlay.extra, 1):
        _extra(build, overlay, layer, scratch, str(number))


def _lower(build: Build, overlay: OverlayRoot, path: str, place: str, why: str) -> str:
    """Where an overlay finds ``path``: there, or as a copy of that one mount. In a new user namespace the mounts below it are
    locked to it, and the kernel takes no such directory as a layer."""
    if not overlay.detach:
        return path
    build.after.append(ops.mkdir(place, 0o700, 0, 0, why, at=n.AT_HOST))
    build.after.append(ops.bind("", place, 0, why, at=n.AT_HOST, slot=_detached(build, path, why), make_target=False))
    return place


def _detached(build: Build, path: str, why: str) -> int:
    slot = build.new_slot()
    build.before.append(ops.open_tree(path, slot, why))
    return slot


def _layer_directories(build: Build, scratch: str, number: str, lower: str, why: str) -> None:
    mode, uid, gid = _owner_and_mode(lower)
    build.after.append(ops.mkdir(f"{scratch}/u{number}", mode, uid, gid, why, at=n.AT_HOST))
    build.after.append(ops.mkdir(f"{scratch}/w{number}", 0o700, 0, 0, why, at=n.AT_HOST))


def _overlay_options(build: Build, lower: tuple[str, ...], scratch: str, number: str, userxattr: bool) -> list[str]:
    joined = ":".join(lower)
    if build.facts.kernel < _LAYERS_ONE_BY_ONE and len(joined) < _OPTION_LIMIT and not any(c in path for path in lower for c in ":,\\"):
        options = [f"lowerdir={joined}"]  # an older kernel complains in its log about the option that it does not know
    else:
        options = [f"lowerdir+={path}" for path in lower]
    options += [f"upperdir={scratch}/u{number}", f"workdir={scratch}/w{number}"]
    if userxattr:
        options.append("userxattr")
    return options


def _files(build: Build, overlay: OverlayRoot, layer: str, upper: str) -> None:
    """The files that belong into the upper directory of the layer at ``layer``, before it is mounted."""
    inner = [extra.path for extra in overlay.extra if extra.path != layer and inside(extra.path).startswith(layer)]
    files = [file for file in overlay.files if _is_below(file.path, layer) and not any(_is_below(file.path, path) for path in inner)]
    if not files:
        return
    build.after.append(ops.root(upper, "default"))
    made: set[str] = set()
    for file in files:
        path = file.path if layer == "/" else file.path[len(layer) :]
        folder = posixpath.dirname(path)
        if folder not in ("/", "") and folder not in made:
            made.add(folder)
            build.after.append(ops.mkdir(folder, file.dir_mode, file.dir_uid, file.dir_gid, "default"))
        build.after.append(ops.write_file(path, file.data, file.mode, "default"))


def _is_below(path: str, folder: str) -> bool:
    return folder == "/" or path.startswith(folder + "/")


def _extra(build: Build, overlay: OverlayRoot, layer: ExtraLayer, scratch: str, number: str) -> None:
    why = f"mounted on {layer.source}" if overlay.lower else build.why("root.path")
    add = build.after.append
    if layer.kind == "dir":
        add(ops.mkdir(layer.path, *_owner_and_mode(layer.source), why))
    elif layer.kind == "link":
        add(ops.symlink(layer.source, layer.path, why))
    elif layer.kind == "bind" and overlay.detach:
        slot = _detached(build, layer.source, why)
        add(ops.bind("", layer.path, k.MS_RDONLY, why, slot=slot, make_target=not overlay.lower))
    elif layer.kind in ("bind", "rbind"):
        flags = k.MS_RDONLY | (k.MS_REC if layer.kind == "rbind" else 0)
        add(ops.bind(layer.source, layer.path, flags, why, make_target=not overlay.lower))
    else:
        _layer(build, overlay, layer, scratch, number, why)


def _layer(build: Build, overlay: OverlayRoot, layer: ExtraLayer, scratch: str, number: str, why: str) -> None:
    _layer_directories(build, scratch, number, layer.source, why)
    merged = f"{scratch}/r"
    if any(_is_below(file.path, layer.path) for file in overlay.files) and not overlay.lower:
        _files(build, overlay, layer.path, f"{scratch}/u{number}")
        build.after.append(ops.root(merged, why))
    lower = _lower(build, overlay, layer.source, f"{scratch}/l{number}", why)
    options = _overlay_options(build, (lower,), scratch, number, overlay.userxattr)
    build.after.append(ops.mount("overlay", layer.path, "overlay", options, 0, why, make_target=not overlay.lower))


# -- pivot -----------------------------------------------------------------------------------------------------------


def compile_pivot(build: Build) -> None:
    """The root becomes read-only if asked for, then /, then takes its propagation."""
    root = build.spec.root
    if root is not None and root.readonly:
        why = build.why("root.readonly")
        layers = build.opt.overlay.extra if build.opt.overlay else ()
        for path in ("/", *(layer.path for layer in layers if layer.kind == "overlay")):
            build.after.append(ops.mount_attr(path, k.MOUNT_ATTR_RDONLY, 0, why))
    chroot = not build.has_namespace("mount")
    why = "--no-pivot" if build.opt.no_pivot else "default"
    build.after.append(ops.pivot(build.why("linux.namespaces") if chroot else why, no_pivot=build.opt.no_pivot, chroot=chroot))
    wanted = build.linux.rootfs_propagation
    if wanted and not chroot:
        build.after.append(ops.propagation("/", _PROPAGATION[wanted], build.why("linux.rootfsPropagation")))


def container_root(build: Build) -> str:
    """A host path below which the container's files can be read while compiling (lowest layer of an overlay)."""
    return root_path(build)


def working_directory(build: Build, path: str) -> None:
    """Makes the working directory where the image lacks it."""
    cwd = inside(path)
    if cwd != "/":
        build.after.append(ops.mkdir(cwd, 0o755, 0, 0, build.why("process.cwd")).optional())

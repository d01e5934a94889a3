"""Which files and which configuration an image's name stands for."""

from __future__ import annotations

import os

from msgspec import Struct

from pyrt.base.errors import InvalidRequest, NotFound
from pyrt.model.image import ImageConfig
from pyrt.model.run import RunRequest
from pyrt.runtime import host_image
from pyrt.runtime.host import host_facts
from pyrt.runtime.overlay_root import ExtraLayer

__all__ = ["ResolvedImage", "resolve_image"]

HOST = "host"
HOST_CONFIG = ImageConfig(cmd=("/bin/sh",), fresh_tmp=True)
_PLAIN = ImageConfig()


class ResolvedImage(Struct, frozen=True):
    """``root`` is the host path of the image's files, ``layers`` what is mounted below it (or, when it is ``split``, all
    that it is made of), ``hidden`` what a container must not see of it. ``stamps`` change when a file changes that shapes
    the plan (users, groups)."""

    root: str
    config: ImageConfig
    layers: tuple[ExtraLayer, ...]
    hidden: tuple[str, ...]
    stamps: tuple[object, ...]
    split: bool = False


def resolve_image(req: RunRequest) -> ResolvedImage:
    """The built-in `host` image, or the directory of `--rootfs`. Raises NotFound, InvalidRequest."""
    fresh: tuple[str, ...]
    if req.rootfs is not None:
        root, config, fresh = host_image.root_directory(req.rootfs), _PLAIN, ("/proc", "/sys", "/dev")
    elif req.image == HOST:
        root, config, fresh = "/", HOST_CONFIG, host_image.FRESH
    else:
        raise _no_such_image(req.image)
    layers, split = _layers(root, fresh)
    hidden = host_image.hidden_paths() if root == "/" else ()
    top = "" if root == "/" else root
    stamps = (_stamp(top + "/etc/passwd"), _stamp(top + "/etc/group"))
    return ResolvedImage(root, config, layers, hidden, stamps, split)


def _layers(root: str, fresh: tuple[str, ...]) -> tuple[tuple[ExtraLayer, ...], bool]:
    """What the root is made of, and whether it has to be split up (see OverlayRoot)."""
    if host_facts().rootless:
        mounts = host_image.mount_table.mounts()
        if any(mount.path.startswith(root.rstrip("/") + "/") for mount in mounts):
            return host_image.split_root(mounts, root, fresh), True
    return host_image.mount_table.layers(root, fresh), False


def _no_such_image(name: str) -> Exception:
    if not name or name != name.strip() or any(c.isspace() for c in name) or name.lower() != name:
        return InvalidRequest(f"invalid reference format: {name!r}")
    return NotFound(f"Unable to find image '{name}' locally: there is `host`, and --rootfs DIR for any directory")


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        info = os.lstat(path)
    except OSError:
        return None
    return info.st_ctime_ns, info.st_size, info.st_ino

"""Which files and which configuration an image's name stands for."""

from __future__ import annotations

import os

from msgspec import Struct

from pyrt.base.errors import InvalidRequest, NotFound
from pyrt.model.image import ImageConfig
from pyrt.model.run import RunRequest
from pyrt.runtime import host_image
from pyrt.runtime.overlay_root import ExtraLayer

__all__ = ["ResolvedImage", "resolve_image"]

HOST = "host"
HOST_CONFIG = ImageConfig(cmd=("/bin/sh",), fresh_tmp=True)
_PLAIN = ImageConfig()


class ResolvedImage(Struct, frozen=True):
    """``root`` is the host path of the image's files, ``layers`` what is mounted below it, ``hidden`` what a container
    must not see of it. ``stamps`` change when a file changes that shapes the plan (users, groups)."""

    root: str
    config: ImageConfig
    layers: tuple[ExtraLayer, ...]
    hidden: tuple[str, ...]
    stamps: tuple[object, ...]


def resolve_image(req: RunRequest) -> ResolvedImage:
    """The built-in `host` image, or the directory of `--rootfs`. Raises NotFound, InvalidRequest."""
    if req.rootfs is not None:
        root = host_image.root_directory(req.rootfs)
        config, hidden = (_PLAIN, host_image.hidden_paths() if root == "/" else ())
        layers = host_image.mount_table.layers(root, ("/proc", "/sys", "/dev"))
    elif req.image == HOST:
        root, config, hidden = "/", HOST_CONFIG, host_image.hidden_paths()
        layers = host_image.mount_table.layers()
    else:
        raise _no_such_image(req.image)
    top = "" if root == "/" else root
    stamps = (_stamp(top + "/etc/passwd"), _stamp(top + "/etc/group"))
    return ResolvedImage(root, config, layers, hidden, stamps)


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

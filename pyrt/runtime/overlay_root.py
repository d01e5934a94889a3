"""The throw-away root file system, as data: what `host_image` finds out and `plan.compile` turns into ops."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ExtraLayer", "OverlayRoot", "RootFile"]


@dataclass(frozen=True, slots=True)
class ExtraLayer:
    """A host file system mounted below the root: ``source`` on the host, ``path`` in the container.

    ``kind`` is "overlay" (its own layer, writes vanish) or "bind" (read-only on the host too, or a single file: bound
    read-only, without what is mounted below it).
    """

    source: str
    path: str
    kind: str = "overlay"


@dataclass(frozen=True, slots=True)
class RootFile:
    """A file put into the upper layer before it is mounted, which takes no mount and no copy-up.

    ``path`` is absolute in the container; its folder is made with ``dir_mode``/``dir_uid``/``dir_gid`` (those of the
    same folder in the lower layer, since the upper one wins).
    """

    path: str
    data: bytes
    mode: int = 0o644
    dir_mode: int = 0o755
    dir_uid: int = 0
    dir_gid: int = 0


@dataclass(frozen=True, slots=True)
class OverlayRoot:
    """Lower directories (top first, host paths), file systems below, files of the upper layer."""

    lower: tuple[str, ...]
    extra: tuple[ExtraLayer, ...] = ()
    files: tuple[RootFile, ...] = ()
    userxattr: bool = False

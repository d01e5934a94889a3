"""The throw-away root file system, as data: what `host_image` finds out and `plan.compile` turns into ops."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["ExtraLayer", "OverlayRoot", "RootFile"]


class ExtraLayer(Struct, frozen=True):
    """A part of the root with a place of its own: ``source`` on the host, ``path`` in the container.

    ``kind``: "overlay" (its own layer, writes vanish), "bind" (read-only on the host too, or a single file: bound
    read-only, without what is mounted below it), "rbind" (with it), "dir" (an empty directory that looks like the source),
    "link" (a symbolic link whose text is ``source``).
    """

    source: str
    path: str
    kind: str = "overlay"


class RootFile(Struct, frozen=True):
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


class OverlayRoot(Struct, frozen=True):
    """Lower directories (top first, host paths), what else the root is made of, and files of the upper layers.

    Without a ``lower`` the root is an empty directory that ``extra`` fills: in a user namespace made by an unprivileged
    user the kernel takes no directory as a layer that something is mounted below. ``detach``: root makes such a user
    namespace, and takes copies of the single mounts in. ``userxattr``: as overlayfs needs it in a user namespace.
    """

    lower: tuple[str, ...]
    extra: tuple[ExtraLayer, ...] = ()
    files: tuple[RootFile, ...] = ()
    userxattr: bool = False
    detach: bool = False

"""What an image says about the containers made from it."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["ImageConfig"]


class ImageConfig(Struct, frozen=True):
    """The part of an image's configuration that shapes a container; what a request leaves out is taken from here.

    ``fresh_tmp`` gives a container its own empty /run and /tmp, as the `host` image needs them.
    """

    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""
    stop_signal: str = ""
    fresh_tmp: bool = False

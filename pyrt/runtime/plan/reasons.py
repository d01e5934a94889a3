"""Why an op is there: the flag that asked for a place in the spec, or that place itself."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["Reasons"]


class Reasons:
    """Looks up JSON paths of the spec (``linux.resources.memory.limit``, ``mounts[3]``) in the flags that led to them."""

    __slots__ = ("_origins",)

    def __init__(self, origins: Mapping[str, str] | None = None) -> None:
        self._origins = origins or {}

    def __call__(self, path: str) -> str:
        """The flag behind ``path``, or behind what it is a part of; else the path."""
        origins = self._origins
        if not origins:
            return path
        at = path
        while at:
            found = origins.get(at)
            if found is not None:
                return found
            at = at[: max(at.rfind("."), at.rfind("["), 0)]
        return path

    def asked(self, path: str) -> bool:
        """Whether exactly this path was asked for by a person; True when nobody keeps a record."""
        return not self._origins or path in self._origins

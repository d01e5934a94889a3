"""Reading and writing the files of a cgroup."""

from __future__ import annotations

import os

__all__ = ["flat", "number", "read", "write"]


def read(path: str) -> str | None:
    """The file's text; None when it, or its cgroup, is not there or not readable."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read().decode("utf-8", "surrogateescape")
    except OSError:
        return None


def write(path: str, value: str) -> None:
    """One write(2) of the whole value. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode("utf-8", "surrogateescape"))
    finally:
        os.close(fd)


def number(path: str, unlimited: int | None = None) -> int | None:
    """The first number of a file: ``unlimited`` for "max", None when there is none."""
    text = read(path)
    if text is None:
        return None
    word = text.split(None, 1)[0] if text.strip() else ""
    if word == "max":
        return unlimited
    try:
        return int(word)
    except ValueError:
        return None


def flat(path: str) -> dict[str, int]:
    """A file of "key number" lines; empty when it is not there."""
    found: dict[str, int] = {}
    for line in (read(path) or "").splitlines():
        key, _, value = line.partition(" ")
        try:
            found[key] = int(value)
        except ValueError:
            continue
    return found

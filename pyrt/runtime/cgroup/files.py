"""Reading and writing the files of a cgroup directory."""

from __future__ import annotations

import errno
import os

from pyrt.base.errors import PyrtError, errno_words

__all__ = ["lines", "number", "read", "remove_tree", "table", "write"]


def read(path: str) -> str | None:
    """The text of a file, or None when it (or its cgroup) is not there."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.ENODEV, errno.EOPNOTSUPP):  # the cgroup went away; the file cannot be read here
            return None
        raise PyrtError(f"{path}: cannot be read: {errno_words(error.errno or 0)}") from None


def number(path: str, default: int = 0) -> int:
    """The one number that a file holds; "max" is 2**64-1, a missing file `default`."""
    text = (read(path) or "").strip()
    if text == "max":
        return (1 << 64) - 1
    try:
        return int(text)
    except ValueError:
        return default


def lines(path: str) -> list[list[str]]:
    """A file's lines as words; none when it is missing."""
    return [line.split() for line in (read(path) or "").splitlines()]


def table(path: str) -> dict[str, int]:
    """A file of lines "key number"."""
    return {words[0]: int(words[1]) for words in lines(path) if len(words) == 2 and words[1].lstrip("-").isdigit()}


def write(path: str, value: str) -> None:
    """Writes a value with one write(2). Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def remove_tree(path: str) -> bool:
    """Removes a cgroup and those below it. False when processes are still in one; True when it is gone (or never was)."""
    try:
        os.rmdir(path)
        return True
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
            raise PyrtError(f"cgroup {path}: cannot be removed: {errno_words(error.errno or 0)}") from None
    try:
        below = [entry.path for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return True
    if not below:
        return False
    gone = [remove_tree(child) for child in below]
    if not all(gone):
        return False
    try:
        os.rmdir(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno == errno.EBUSY:
            return False
        raise PyrtError(f"cgroup {path}: cannot be removed: {errno_words(error.errno or 0)}") from None
    return True

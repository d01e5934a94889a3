"""Opening files inside a directory that somebody else controls: no symbolic link leads out of it.

What openat2(2) does with RESOLVE_IN_ROOT, in plain Python: one openat(2) with O_NOFOLLOW for each component, absolute
links begin at the root again, and ".." never climbs above it.
"""

from __future__ import annotations

import errno
import os
import stat

__all__ = ["open_in_root", "read_in_root"]

_MAX_LINKS = 40
_DIRECTORY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def open_in_root(root: str, path: str, flags: int = os.O_RDONLY) -> int:
    """An fd of ``path`` (``/etc/passwd``) as a process that is chrooted to ``root`` would open it. Raises OSError."""
    stack = [os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)]
    try:
        todo = [part for part in reversed(path.split("/")) if part and part != "."]
        links = 0
        while todo:
            name = todo.pop()
            if name == "..":
                if len(stack) > 1:
                    os.close(stack.pop())
                continue
            fd = os.open(name, _DIRECTORY, dir_fd=stack[-1])
            stack.append(fd)
            kind = os.fstat(fd).st_mode
            if stat.S_ISLNK(kind):
                links += 1
                if links > _MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                # readlink of "" reads the link that the O_PATH fd itself stands for.
                target = os.readlink("", dir_fd=fd)
                os.close(stack.pop())
                if target.startswith("/"):
                    while len(stack) > 1:
                        os.close(stack.pop())
                todo.extend(part for part in reversed(target.split("/")) if part and part != ".")
            elif todo and not stat.S_ISDIR(kind):
                raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        return _reopen(stack[-1], flags)
    finally:
        for fd in stack:
            os.close(fd)


def _reopen(fd: int, flags: int) -> int:
    if flags & os.O_PATH:
        return os.dup(fd)
    return os.open(f"/proc/self/fd/{fd}", flags | os.O_CLOEXEC | os.O_NONBLOCK)


def read_in_root(root: str, path: str, limit: int = 8 << 20) -> bytes | None:
    """The content of a regular file inside ``root``, ``limit`` bytes at most; None when there is no such file."""
    try:
        fd = open_in_root(root, path, os.O_PATH)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as e:
        if e.errno == errno.ELOOP:
            return None
        raise
    try:
        # Opening anything but a regular file could block, or have an effect on a device.
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        with open(f"/proc/self/fd/{fd}", "rb") as file:
            return file.read(limit)
    finally:
        os.close(fd)

"""Where pyrt keeps its own files."""

from __future__ import annotations

import os
import stat

from pyrt.base.errors import PyrtError, errno_words

__all__ = ["cache_dir", "forget", "is_root", "run_dir", "state_dirs"]


def is_root() -> bool:
    """True when the effective uid is 0."""
    return os.geteuid() == 0


_wanted: dict[int, tuple[str, str]] = {}


def _places() -> tuple[str, str]:
    """The run and the cache directory. The environment is read once per effective user: this is on the start path."""
    uid = os.geteuid()
    found = _wanted.get(uid)
    if found is None:
        run = _find_run_dir()
        found = _wanted[uid] = run, _find_cache_dir(run)
    return found


def forget() -> None:
    """Reads the environment again, after it has been changed."""
    _wanted.clear()


def _find_run_dir() -> str:
    chosen = os.environ.get("PYRT_RUN_DIR")
    if chosen and os.path.isabs(chosen):
        return os.path.normpath(chosen)
    if is_root():
        return "/run/pyrt"
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isabs(runtime) and os.access(runtime, os.W_OK | os.X_OK):
        return os.path.join(runtime, "pyrt")
    return f"/tmp/pyrt-{os.geteuid()}"


def _find_cache_dir(run: str) -> str:
    chosen = os.environ.get("PYRT_CACHE_DIR")
    if chosen and os.path.isabs(chosen):
        return os.path.normpath(chosen)
    if is_root():
        return os.path.join(run, "cache")
    base = os.environ.get("XDG_CACHE_HOME")
    if not base or not os.path.isabs(base):
        base = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "pyrt")


_made: dict[str, tuple[int, int, int]] = {}


def run_dir() -> str:
    """The folder for sockets, mount points and state that does not outlive a boot; made 0700 if missing.

    $PYRT_RUN_DIR when set, else /run/pyrt for root and $XDG_RUNTIME_DIR/pyrt (or /tmp/pyrt-UID) for others. Raises
    PyrtError when it cannot be made or belongs to someone else.
    """
    path = _places()[0]
    known = _made.get(path)
    if known is not None:
        try:
            seen = os.lstat(path)
        except OSError:
            pass
        else:
            if known == (seen.st_dev, seen.st_ino, os.geteuid()):
                return path
    _made[path] = (*_make_private(path), os.geteuid())
    return path


def _make_private(path: str) -> tuple[int, int]:
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass
        seen = os.lstat(path)
        if not stat.S_ISDIR(seen.st_mode):
            raise PyrtError(f"{path} is not a directory: move it away, or set PYRT_RUN_DIR")
        if seen.st_uid != os.geteuid():
            raise PyrtError(f"{path} belongs to uid {seen.st_uid}, not to us: set PYRT_RUN_DIR to a folder of your own")
        if stat.S_IMODE(seen.st_mode) & 0o077:
            os.chmod(path, 0o700)
    except OSError as e:
        words = errno_words(e.errno or 0)
        raise PyrtError(f"cannot make {path}: {words}: set PYRT_RUN_DIR to a folder of your own") from e
    return seen.st_dev, seen.st_ino


def cache_dir() -> str:
    """The folder for what can be computed again; may not exist yet. $PYRT_CACHE_DIR, else ``cache`` in root's run
    directory (a fresh place in every container, so nothing has to be hidden there) and $XDG_CACHE_HOME/pyrt (or
    ~/.cache/pyrt) for others."""
    return _places()[1]


def state_dirs() -> tuple[str, ...]:
    """Every folder of pyrt's own: what a container on the `host` image must not see."""
    own = list(_places())
    if is_root():
        own.append("/var/lib/pyrt")
    return tuple(dict.fromkeys(own))

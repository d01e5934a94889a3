"""State on disk: ROOT/ID/state.json, one directory a container.

The file is replaced whole (written beside, then renamed), so a reader never sees half of it. Who makes, changes or
removes a container holds a flock(2) on its directory; the kernel drops it with its holder, so a directory whose
record says "creating" and that nobody has locked was left by a command that was killed, and is removed by the next
one that meets it.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from pyrt.base.errors import Conflict, InvalidRequest, NotFound, PyrtError, errno_words
from pyrt.model import oci

__all__ = ["Record", "Store", "check_id", "default_root"]

STATE_FILE = "state.json"
GATE = "start.sock"

_ID = re.compile(r"[A-Za-z0-9_+.-]{1,1024}")


class Record(oci.Oci, frozen=True):
    """What is known of a container. `pid` 0: it is being created. `pid_start`: clock ticks since the boot `boot`.
    `cgroups`: its directory in each hierarchy, the last to be removed first; others live there too when `shared_cgroup`.
    `host_mounts`: without a mount namespace of its own, what was mounted at and below its root before it came.
    """

    oci_version: str
    id: str
    bundle: str
    rootfs: str
    created: str
    config: oci.Spec
    pid: int = 0
    pid_start: int = 0
    boot: str = ""
    cgroups: tuple[str, ...] = ()
    shared_cgroup: bool = False
    host_mounts: tuple[str, ...] | None = None
    annotations: dict[str, str] = msgspec.field(default_factory=dict)


def default_root() -> str:
    """/run/pyrt-oci for root, $XDG_RUNTIME_DIR/pyrt-oci for others (and for root of a user namespace), as runc
    chooses.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime) and (os.geteuid() != 0 or _honours_xdg()):
        return os.path.join(runtime, "pyrt-oci")
    return "/run/pyrt-oci" if os.geteuid() == 0 else f"/tmp/pyrt-oci-{os.geteuid()}"


def _honours_xdg() -> bool:
    """Root of a user namespace that an ordinary user has made: its /run belongs to somebody else."""
    try:
        with open("/proc/self/uid_map", encoding="ascii") as file:
            mapped = file.read().split()
    except OSError:
        return False
    return mapped != ["0", "0", "4294967295"] and os.environ.get("USER", "") not in ("", "root")


def check_id(container_id: str) -> str:
    """Gives the id back. Raises InvalidRequest for what cannot be one; the words are those that runc's callers know."""
    if not container_id:
        raise InvalidRequest("container id cannot be empty")
    if not _ID.fullmatch(container_id) or container_id in (".", ".."):
        raise InvalidRequest(f"invalid container ID format: {container_id!r}")
    return container_id


class Store:
    """All containers below one root directory."""

    def __init__(self, root: str) -> None:
        self.root = root

    def directory(self, container_id: str) -> str:
        """The container's directory; it need not exist."""
        return os.path.join(self.root, check_id(container_id))

    def gate(self, container_id: str) -> str:
        """Path of the socket at which a created container waits."""
        return os.path.join(self.directory(container_id), GATE)

    def load(self, container_id: str) -> Record:
        """Raises NotFound when there is no such container, or it has not got beyond being created."""
        record = self.find(container_id)
        if record is None or not record.pid:
            raise NotFound("container does not exist")
        return record

    def find(self, container_id: str) -> Record | None:
        """The record whatever it says; None when there is none. Raises PyrtError when it cannot be read."""
        path = os.path.join(self.directory(container_id), STATE_FILE)
        try:
            with open(path, "rb") as file:
                raw = file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise PyrtError(f"{path}: cannot be read: {errno_words(error.errno or 0)}") from None
        try:
            return msgspec.json.decode(raw, type=Record)
        except msgspec.DecodeError as error:
            raise PyrtError(f"{path}: not a state file of pyrt-oci: {error}") from None

    def save(self, record: Record) -> None:
        """Replaces the record at once. Raises PyrtError when the disk will not take it."""
        folder = self.directory(record.id)
        temporary = os.path.join(folder, f".{STATE_FILE}.{os.getpid()}")
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(fd, "wb") as file:
                file.write(msgspec.json.encode(record))
            os.rename(temporary, os.path.join(folder, STATE_FILE))
        except OSError as error:
            raise PyrtError(f"{folder}: the state cannot be saved: {errno_words(error.errno or 0)}") from None

    def ids(self) -> list[str]:
        """Every directory below the root, sorted. Raises FileNotFoundError when there is no root."""
        with os.scandir(self.root) as entries:
            found = [e.name for e in entries if e.is_dir(follow_symlinks=False) and _ID.fullmatch(e.name)]
        return sorted(found)

    def owner(self, container_id: str) -> int:
        """User id of the directory's owner. Raises OSError."""
        return os.stat(self.directory(container_id)).st_uid

    def remove(self, container_id: str) -> None:
        """Removes the directory, if it is there. Raises PyrtError."""
        import shutil

        try:
            shutil.rmtree(self.directory(container_id))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise PyrtError(f"unable to remove container state dir: {error.filename}: {errno_words(error.errno or 0)}") from None

    @contextmanager
    def lock(self, container_id: str) -> Iterator[None]:
        """Holds the container's lock, waiting for it. Raises NotFound when the directory is not there (any more)."""
        folder = self.directory(container_id)
        fd = _open_folder(folder)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if not _still_there(folder, fd):
                raise NotFound("container does not exist")
            yield
        finally:
            os.close(fd)

    @contextmanager
    def new(self, container_id: str) -> Iterator[Record | None]:
        """Makes the container's directory and holds its lock; whatever happens inside, keeping or removing it is
        the caller's.

        Gives the record that a killed command has left, when it has: its cgroup is the caller's to remove. Raises
        Conflict when the id is taken.
        """
        folder = self.directory(container_id)
        try:
            os.makedirs(self.root, mode=0o700, exist_ok=True)
            top = _open_folder(self.root)
            try:
                fcntl.flock(top, fcntl.LOCK_EX)  # no one else makes a directory, and not yet locks it, meanwhile
                left = self._make(folder, container_id)
                fd = _open_folder(folder)
                fcntl.flock(fd, fcntl.LOCK_EX)
            finally:
                os.close(top)
        except OSError as error:
            raise PyrtError(f"{folder}: cannot be made: {errno_words(error.errno or 0)}") from None
        try:
            yield left
        finally:
            os.close(fd)

    def _make(self, folder: str, container_id: str) -> Record | None:
        try:
            os.mkdir(folder, 0o711)
            return None
        except FileExistsError:
            pass
        if self.is_being_created(container_id):
            raise Conflict("container with given ID already exists")
        left = self.find(container_id)
        if left is not None and left.pid:
            raise Conflict("container with given ID already exists")
        self.remove(container_id)
        os.mkdir(folder, 0o711)
        return left

    def is_being_created(self, container_id: str) -> bool:
        """Does somebody hold the lock just now? (Also true while another command works on the container.)"""
        try:
            fd = _open_folder(self.directory(container_id))
        except NotFound:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def leftover(self, container_id: str) -> Record | None:
        """The record of a container whose creation was killed, None when there is none such."""
        record = self.find(container_id)
        return record if record is not None and not record.pid else None


def _open_folder(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound("container does not exist") from None


def _still_there(path: str, fd: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except OSError:
        return False

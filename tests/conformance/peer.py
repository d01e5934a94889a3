"""What the tests ask of a container manager, whichever it is. Each peer says it in its own words, or says that it cannot."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.machine import CALL_SECONDS, Done, Scratch, call


class Absent(Exception):
    """This peer is not on this machine, or does not start here: skip, and say why."""


class Unsayable(Exception):
    """This peer's client has no words for what the test wants: skip, and say why."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to start a container. `volumes` are (host path, path inside, writable)."""

    tty: bool = False
    interactive: bool = False
    user: str | None = None
    cwd: str | None = None
    env: tuple[str, ...] = ()
    memory: int | None = None
    pids: int | None = None
    cpus: float | None = None
    read_only: bool = False
    volumes: tuple[tuple[str, str, bool], ...] = ()
    cap_drop: tuple[str, ...] = ()
    cap_add: tuple[str, ...] = ()
    privileged: bool = False
    restart: str | None = None


PLAIN = Options()


class Peer(ABC):
    """`runtime` is the program that stands in runc's place. Call `start` before, `stop` after everything else."""

    name: str

    def __init__(self, runtime: str) -> None:
        self.runtime = runtime
        self.scratch = Scratch.make(self.name[:1])
        self.folder = self.scratch.folder
        self.env: Mapping[str, str] = {**os.environ, "HOME": str(self.folder), "TERM": "xterm"}

    @abstractmethod
    def start(self, layer: Path, archive: Path) -> None:
        """Gets going, with the image loaded. Raises Absent."""

    @abstractmethod
    def stop(self) -> None: ...

    @abstractmethod
    def run_argv(self, name: str, command: Sequence[str], options: Options = PLAIN, *, detach: bool = False) -> list[str]: ...

    @abstractmethod
    def exec_argv(self, name: str, command: Sequence[str], options: Options = PLAIN) -> list[str]: ...

    def run(self, name: str, command: Sequence[str], options: Options = PLAIN, text: str | None = None) -> Done:
        """In the foreground, removed at its end."""
        return self.call(self.run_argv(name, command, options), text=text)

    def begin(self, name: str, command: Sequence[str], options: Options = PLAIN) -> None:
        """In the background."""
        self.call(self.run_argv(name, command, options, detach=True)).ok()

    def exec(self, name: str, command: Sequence[str], options: Options = PLAIN, text: str | None = None) -> Done:
        return self.call(self.exec_argv(name, command, options), text=text)

    @abstractmethod
    def pause(self, name: str) -> None: ...

    @abstractmethod
    def unpause(self, name: str) -> None: ...

    @abstractmethod
    def update(self, name: str, *, memory: int) -> None: ...

    @abstractmethod
    def kill(self, name: str, signal: str = "KILL") -> None: ...

    @abstractmethod
    def halt(self, name: str, seconds: int) -> None:
        """TERM, then KILL after `seconds`."""

    @abstractmethod
    def again(self, name: str) -> None:
        """Stops the container and starts it anew under the same name."""

    @abstractmethod
    def wait(self, name: str) -> int:
        """Until it ends; its exit code."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Whatever its state; no complaint if there is none."""

    @abstractmethod
    def state(self, name: str) -> str:
        """`running`, `paused`, `exited`, or `none`."""

    @abstractmethod
    def pid(self, name: str) -> int:
        """Of the container's first process, as the host counts."""

    @abstractmethod
    def logs(self, name: str) -> str: ...

    @abstractmethod
    def pids(self, name: str) -> list[int]:
        """Its processes, as the host counts."""

    @abstractmethod
    def memory_used(self, name: str) -> int:
        """In bytes."""

    @abstractmethod
    def oom_killed(self, name: str) -> bool: ...

    def call(self, argv: Sequence[str], *, text: str | None = None, seconds: float = CALL_SECONDS) -> Done:
        return call(argv, env=self.env, cwd=self.folder, text=text, seconds=seconds)

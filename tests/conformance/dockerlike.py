"""Docker's command line, which dockerd's client and podman share."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Sequence

from tests.conformance.machine import Done
from tests.conformance.peer import PLAIN, Options, Peer

IMAGE = "pyrtbox:latest"
UNITS = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def size_of(text: str) -> int:
    """`1.5MiB` in bytes."""
    number = text.rstrip("kKMGiB")
    return int(float(number) * UNITS[text[len(number) :]])


class DockerLike(Peer):
    # What `rm --force` needs in order not to ask politely first.
    at_once: tuple[str, ...] = ()

    @abstractmethod
    def argv(self, *words: str) -> list[str]: ...

    def cli(self, *words: str) -> Done:
        return self.call(self.argv(*words))

    def run_argv(self, name: str, command: Sequence[str], options: Options = PLAIN, *, detach: bool = False) -> list[str]:
        words = ["run", "--name", name, "--network", "none", "--cgroup-parent", f"/{self.scratch.cgroup}"]
        words += ["--detach" if detach else "--rm"]
        words += ["--read-only"] * options.read_only + ["--privileged"] * options.privileged
        words += ["--memory", str(options.memory)] if options.memory else []
        words += ["--cpus", str(options.cpus)] if options.cpus else []
        words += ["--pids-limit", str(options.pids)] if options.pids else []
        words += ["--restart", options.restart] if options.restart else []
        for source, target, writable in options.volumes:
            words += ["--volume", f"{source}:{target}:{'rw' if writable else 'ro'}"]
        for cap in options.cap_drop:
            words += ["--cap-drop", cap]
        for cap in options.cap_add:
            words += ["--cap-add", cap]
        return self.argv(*words, *self.common(options), IMAGE, *command)

    def exec_argv(self, name: str, command: Sequence[str], options: Options = PLAIN) -> list[str]:
        return self.argv("exec", *self.common(options), name, *command)

    def common(self, options: Options) -> list[str]:
        words = ["--tty"] * options.tty + ["--interactive"] * options.interactive
        words += ["--user", options.user] if options.user else []
        words += ["--workdir", options.cwd] if options.cwd else []
        for pair in options.env:
            words += ["--env", pair]
        return words

    def pause(self, name: str) -> None:
        self.cli("pause", name).ok()

    def unpause(self, name: str) -> None:
        self.cli("unpause", name).ok()

    def update(self, name: str, *, memory: int) -> None:
        self.cli("update", "--memory", str(memory), "--memory-swap", str(memory), name).ok()

    def kill(self, name: str, signal: str = "KILL") -> None:
        self.cli("kill", "--signal", signal, name).ok()

    def halt(self, name: str, seconds: int) -> None:
        self.cli("stop", "--time", str(seconds), name).ok()

    def again(self, name: str) -> None:
        self.cli("restart", "--time", "0", name).ok()

    def wait(self, name: str) -> int:
        return int(self.cli("wait", name).ok().out)

    def remove(self, name: str) -> None:
        self.cli("rm", "--force", *self.at_once, name)

    def seen(self, name: str) -> dict[str, object]:
        done = self.cli("container", "inspect", "--format", "{{json .State}}", name)
        found = json.loads(done.out) if done.code == 0 else {}
        assert isinstance(found, dict)
        return found

    def state(self, name: str) -> str:
        return str(self.seen(name).get("Status", "none"))

    def pid(self, name: str) -> int:
        return int(str(self.seen(name)["Pid"]))

    def logs(self, name: str) -> str:
        done = self.cli("logs", name).ok()
        return done.out + done.err

    def memory_used(self, name: str) -> int:
        return size_of(self.cli("stats", "--no-stream", "--format", "{{.MemUsage}}", name).ok().out.split("/")[0].strip())

    def oom_killed(self, name: str) -> bool:
        return bool(self.seen(name)["OOMKilled"])

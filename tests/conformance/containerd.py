"""Debian's containerd, through `ctr` and the runc.v2 shim."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from tests.conformance import image
from tests.conformance.daemon import Daemon, need
from tests.conformance.machine import Done, cgroup_of, read, wait_until
from tests.conformance.peer import PLAIN, Absent, Options, Peer, Unsayable

CONFIG = """version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = [
  "io.containerd.grpc.v1.cri",
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]
[grpc]
address = "{folder}/s"
"""


class Containerd(Peer):
    name = "containerd"

    def start(self, layer: Path, archive: Path) -> None:
        need("containerd", "ctr", "containerd-shim-runc-v2")
        config = self.folder / "config.toml"
        config.write_text(CONFIG.format(folder=self.folder))
        self.daemon = Daemon(["containerd", "-c", str(config), "-l", "warn"], self.scratch, ["/run/containerd"])
        socket = self.folder / "s"
        self.daemon.wait_for(socket)
        self.exec_ids = itertools.count(1)
        done = self.ctr("image", "import", str(archive))
        if done.code:
            raise Absent(f"containerd cannot unpack an image here: {done.said}")

    def stop(self) -> None:
        if hasattr(self, "daemon"):
            self.daemon.stop()
        self.scratch.remove()

    def argv(self, *words: str) -> list[str]:
        return ["ctr", "--address", str(self.folder / "s"), *words]

    def ctr(self, *words: str) -> Done:
        return self.call(self.argv(*words))

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def run_argv(self, name: str, command: Sequence[str], options: Options = PLAIN, *, detach: bool = False) -> list[str]:
        if options.pids is not None:
            raise Unsayable("ctr has no flag for a limit of processes")
        if options.restart is not None:
            raise Unsayable("ctr has no restart policies")
        words = ["run", "--runc-binary", self.runtime, "--runtime", "io.containerd.runc.v2", "--runc-root", str(self.folder / "runc")]
        words += ["--fifo-dir", str(self.folder / "fifo"), "--cgroup", f"/{self.scratch.cgroup}/{name}"]
        words += ["--detach", "--log-uri", f"file://{self.log(name)}"] if detach else ["--rm"]
        words += ["--tty"] * options.tty + ["--read-only"] * options.read_only + ["--privileged"] * options.privileged
        words += ["--cwd", options.cwd] if options.cwd else []
        words += ["--memory-limit", str(options.memory)] if options.memory else []
        words += ["--cpus", str(options.cpus)] if options.cpus else []
        if options.user:
            raise Unsayable("ctr run has no flag for the user")
        for pair in options.env:
            words += ["--env", pair]
        for source, target, writable in options.volumes:
            words += ["--mount", f"type=bind,src={source},dst={target},options=rbind:{'rw' if writable else 'ro'}"]
        for cap in options.cap_drop:
            words += ["--cap-drop", f"CAP_{cap}"]
        for cap in options.cap_add:
            words += ["--cap-add", f"CAP_{cap}"]
        return self.argv(*words, image.NAME, name, *command)

    def exec_argv(self, name: str, command: Sequence[str], options: Options = PLAIN) -> list[str]:
        if options.env:
            raise Unsayable("ctr exec has no flag for the environment")
        words = ["tasks", "exec", "--exec-id", f"e{next(self.exec_ids)}", "--fifo-dir", str(self.folder / "fifo")] + ["--tty"] * options.tty
        words += ["--cwd", options.cwd] if options.cwd else []
        words += ["--user", options.user] if options.user else []
        return self.argv(*words, name, *command)

    def pause(self, name: str) -> None:
        self.ctr("tasks", "pause", name).ok()

    def unpause(self, name: str) -> None:
        self.ctr("tasks", "resume", name).ok()

    def update(self, name: str, *, memory: int) -> None:
        raise Unsayable("ctr has no command to update a task")

    def kill(self, name: str, signal: str = "KILL") -> None:
        self.ctr("tasks", "kill", "-s", f"SIG{signal}", name).ok()

    def halt(self, name: str, seconds: int) -> None:
        self.kill(name, "TERM")
        try:
            wait_until(lambda: self.state(name) == "exited", "an end after SIGTERM", seconds)
        except AssertionError:
            self.kill(name)

    def again(self, name: str) -> None:
        self.kill(name)
        self.wait(name)
        self.ctr("tasks", "start", "--detach", "--fifo-dir", str(self.folder / "fifo"), name).ok()

    def wait(self, name: str) -> int:
        wait_until(lambda: self.state(name) in ("exited", "none"), f"the end of {name}")
        # ctr tells the code in its log, and only if it is not zero.
        done = self.ctr("tasks", "delete", name).ok()
        told = re.search(r"non-zero exit code (\d+)", done.err)
        return int(told[1]) if told else 0

    def remove(self, name: str) -> None:
        if self.state(name) != "none":
            self.ctr("tasks", "delete", "--force", name)
        self.ctr("containers", "delete", name)

    def task(self, name: str) -> list[str]:
        rows = [line.split() for line in self.ctr("tasks", "list").out.splitlines()[1:]]
        return next((row for row in rows if row[0] == name), [name, "0", "none"])

    def state(self, name: str) -> str:
        word = self.task(name)[2].lower()
        return {"stopped": "exited"}.get(word, word)

    def pid(self, name: str) -> int:
        return int(self.task(name)[1])

    def logs(self, name: str) -> str:
        return read(self.log(name))

    def pids(self, name: str) -> list[int]:
        return [int(line.split()[0]) for line in self.ctr("tasks", "ps", name).ok().out.splitlines()[1:]]

    def memory_used(self, name: str) -> int:
        lines = [line.split() for line in self.ctr("tasks", "metrics", name).ok().out.splitlines()]
        return next(int(line[1]) for line in lines if line and line[0] in ("memory.usage_in_bytes", "memory.usage"))

    def oom_killed(self, name: str) -> bool:
        # ctr does not show it; the kernel's count is there as long as the cgroup is.
        folder = cgroup_of(self.pid(name), "memory")
        words = (read(folder / "memory.oom_control") + read(folder / "memory.events")).split()
        return words[words.index("oom_kill") + 1] != "0"

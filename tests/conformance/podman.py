"""Debian's podman, which has no daemon: conmon runs the runtime and stays as the container's parent."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.conformance.daemon import need
from tests.conformance.dockerlike import IMAGE, DockerLike
from tests.conformance.peer import PLAIN, Absent, Options, Unsayable

CONFIG = """[containers]
default_ulimits = []
log_driver = "k8s-file"
init_path = "{init}"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
num_locks = 64
tmp_dir = "{folder}/tmp"
static_dir = "{folder}/static"
volume_path = "{folder}/volumes"
[network]
network_config_dir = "{folder}/net"
"""


class Podman(DockerLike):
    name = "podman"
    at_once = ("--time", "0")

    def start(self, layer: Path, archive: Path) -> None:
        need("podman", "conmon")
        config = self.folder / "containers.conf"
        config.write_text(CONFIG.format(folder=self.folder, init=shutil.which("catatonit") or ""))
        policy = self.folder / "policy.json"
        policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        self.env = {**self.env, "CONTAINERS_CONF": str(config)}
        done = self.cli("import", "--signature-policy", str(policy), str(layer), IMAGE)
        if done.code and "unknown flag" in done.said:
            done = self.cli("import", str(layer), IMAGE)
        if done.code:
            raise Absent(f"podman cannot import an image here: {done.said}")

    def stop(self) -> None:
        self.cli("rm", "--all", "--force", "--time", "0")
        self.scratch.remove()

    def argv(self, *words: str) -> list[str]:
        folders = ["--root", f"{self.folder}/root", "--runroot", f"{self.folder}/run", "--storage-driver", "vfs"]
        return ["podman", *folders, "--cgroup-manager", "cgroupfs", "--runtime", self.runtime, *words]

    def run_argv(self, name: str, command: Sequence[str], options: Options = PLAIN, *, detach: bool = False) -> list[str]:
        if options.restart:
            raise Unsayable("podman restarts containers by a service of its own")
        if options.cwd:
            raise Unsayable("podman wants the working directory to be there")
        return super().run_argv(name, command, options, detach=detach)

    def pids(self, name: str) -> list[int]:
        return [int(line) for line in self.cli("top", name, "hpid").ok().out.splitlines()[1:]]

    def oom_killed(self, name: str) -> bool:
        # Debian's conmon leaves its word of it in the folder where podman was started, and its podman looks in the container's.
        return (self.folder / "oom").exists() or super().oom_killed(name)

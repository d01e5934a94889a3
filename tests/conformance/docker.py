"""Debian's dockerd, which runs containers through a containerd of its own."""

from __future__ import annotations

from pathlib import Path

from tests.conformance.daemon import Daemon, need
from tests.conformance.dockerlike import IMAGE, DockerLike
from tests.conformance.peer import Absent


class Docker(DockerLike):
    name = "docker"

    def start(self, layer: Path, archive: Path) -> None:
        need("dockerd", "docker", "containerd")
        config = self.folder / "daemon.json"
        config.write_text("{}")
        self.env = {name: value for name, value in self.env.items() if not name.startswith("DOCKER_")}
        socket = self.folder / "s"
        folders = ["--data-root", f"{self.folder}/root", "--exec-root", f"{self.folder}/exec", "--pidfile", f"{self.folder}/pid"]
        self.daemon = Daemon(
            [
                "dockerd",
                *("--host", f"unix://{socket}", "--config-file", str(config), *folders, "--log-level", "warn"),
                *("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"),
                *("--add-runtime", f"pyrt={self.runtime}", "--default-runtime", "pyrt"),
            ],
            self.scratch,
            ["/run/containerd", "/run/docker"],
        )
        self.daemon.wait_for(socket)
        done = self.cli("import", str(layer), IMAGE)
        if done.code:
            raise Absent(f"dockerd does not start here: {done.said}")

    def stop(self) -> None:
        if hasattr(self, "daemon"):
            self.daemon.stop()
        self.scratch.remove()

    def argv(self, *words: str) -> list[str]:
        return ["docker", "--host", f"unix://{self.folder}/s", *words]

    def pids(self, name: str) -> list[int]:
        return [int(line.split()[1]) for line in self.cli("top", name).ok().out.splitlines()[1:]]

"""What a user of `pyrt run` sees: isolation, exit codes, streams, signals."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.running import cli, root, start

__all__ = ["root"]

pytestmark = pytest.mark.root


def test_the_readmes_first_command() -> None:
    done = cli("run", "--rm", "host", "sh", "-c", "id; hostname; ps ax; touch /etc/x-of-pyrt; ls /etc/x-of-pyrt")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("uid=0(root)")
    assert len(lines[1]) == 12 and lines[1] != os.uname().nodename
    processes = [line for line in lines if ":" in line and "PID" not in line]
    assert processes[0].split()[0] == "1"
    assert len(processes) <= 3
    assert lines[-1] == "/etc/x-of-pyrt"
    assert not os.path.exists("/etc/x-of-pyrt")


@pytest.mark.parametrize("code", [0, 1, 2, 42, 125, 126, 127, 128, 200, 255])
def test_exit_codes(code: int) -> None:
    assert cli("run", "--rm", "host", "sh", "-c", f"exit {code}").returncode == code


def test_commands_that_cannot_run(tmp_path: Path) -> None:
    missing = cli("run", "host", "no-such-command")
    assert missing.returncode == 127
    assert missing.stderr.startswith("pyrt: ") and missing.stderr.count("\n") == 1
    assert cli("run", "host", "/etc/passwd").returncode == 126
    assert cli("run", "host", "/etc").returncode == 126
    assert cli("run", "host", "/etc/passwd/x").returncode == 127
    assert cli("run", "-w", "/no/such/dir", "host", "pwd").stdout == "/no/such/dir\n"


@pytest.mark.parametrize("name", ["KILL", "TERM", "SEGV", "USR1"])
def test_death_by_signal_is_128_plus_n(name: str) -> None:
    number = getattr(signal, f"SIG{name}")
    done = cli("run", "--init", "host", "sh", "-c", f"kill -{name} $$; sleep 5")
    assert done.returncode == 128 + number


def test_streams() -> None:
    assert cli("run", "-i", "--rm", "host", "tr", "a-z", "A-Z", stdin="abc").stdout == "ABC"
    assert cli("run", "--rm", "host", "cat", stdin="abc").stdout == ""
    done = cli("run", "--rm", "host", "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    big = "x" * 3_000_000
    assert cli("run", "-i", "--rm", "host", "cat", stdin=big).stdout == big


def _started(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_for_us_ends_a_command_without_handler(number: signal.Signals) -> None:
    # The word comes from the program that has no handlers: dash has one for SIGINT, and loses what it caught at its exec.
    process = start("run", "--rm", "host", "sh", "-c", "echo ready >/tmp/word; exec tail -f /tmp/word")
    _started(process)
    process.send_signal(number)
    assert process.wait(20) == 128 + number
    process.communicate()


def test_a_signal_for_us_reaches_a_handler() -> None:
    script = "trap 'echo caught; exit 7' TERM; echo ready; while :; do sleep 0.05; done"
    process = start("run", "--rm", "host", "sh", "-c", script)
    _started(process)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (7, "caught\n")


def test_the_end_of_the_caller_is_the_end_of_the_container() -> None:
    marker = f"{os.getpid()}.{time.monotonic_ns()}"
    process = start("run", "--rm", "-e", f"PYRT_MARK={marker}", "host", "sh", "-c", "echo ready; exec sleep 100")
    _started(process)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 20
    while _with_mark(marker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _with_mark(marker) == []


def _with_mark(marker: str) -> list[str]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if f"PYRT_MARK={marker}".encode() in environment.split(b"\0"):
            found.append(pid)
    return found


def test_a_directory_as_root(root: Path) -> None:
    done = cli("run", "--rm", "--rootfs", str(root), "sh", "-c", "id; cat /etc/hostname; echo x >/etc/new; ls /")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("uid=0(root) gid=0(root)")
    assert not (root / "etc/new").exists() and not (root / "etc/hostname").exists()
    assert cli("run", "--rootfs", "--rm", str(root), "echo", "hi").stdout == "hi\n"


def test_users(root: Path) -> None:
    who = cli("run", "-u", "web", "--rootfs", str(root), "sh", "-c", "id -u; id -g; echo $HOME; grep CapEff /proc/self/status")
    assert who.stdout.split()[:3] == ["33", "34", "/var"]
    assert who.stdout.split()[-1].strip("0") == ""
    assert cli("run", "-u", "4711:4712", "host", "sh", "-c", "id -u; id -g").stdout == "4711\n4712\n"


def test_environment_and_names(root: Path, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("FILE=1\nBOTH=file\n")
    done = cli(
        "run", "--rm", "-e", "A=b c", "-e", "BOTH=flag", "--env-file", str(tmp_path / "env"), "--hostname", "box",
        "-w", "/etc", "--rootfs", str(root), "sh", "-c", "env; hostname; pwd; cat /etc/hostname /etc/hosts",
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert {"A=b c", "FILE=1", "BOTH=flag", "HOSTNAME=box", "HOME=/root", "box", "/etc"} <= set(lines)
    assert any(line.startswith("PATH=/usr/local/sbin:") for line in lines)
    assert any(line.split() == ["127.0.1.1", "box"] for line in lines)


def test_volumes_and_tmpfs(root: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/file").write_text("from the host\n")
    script = "cat /d/file; echo new >/d/new; echo x >/r/y || echo refused; mount | grep ' /t '; stat -c %a /m"
    done = cli(
        "run", "--rm", "-v", f"{tmp_path}/data:/d", "-v", f"{tmp_path}/data:/r:ro", "--tmpfs", "/t:size=1m",
        "--mount", "type=tmpfs,dst=/m,tmpfs-mode=1770,tmpfs-size=64k", "--rootfs", str(root), "sh", "-c", script,
    )  # fmt: skip
    assert "from the host" in done.stdout and "refused" in done.stdout
    assert "size=1024k" in done.stdout and "1770" in done.stdout
    assert (tmp_path / "data/new").read_text() == "new\n"
    assert not (tmp_path / "data/y").exists()


def test_read_only() -> None:
    script = "for d in /etc /tmp /run /usr; do touch $d/x 2>/dev/null && echo writable $d; done; touch /t/x && echo ok"
    done = cli("run", "--rm", "--read-only", "--tmpfs", "/t", "host", "sh", "-c", script)
    assert done.stdout == "ok\n", done.stderr


def test_pid_1_with_init() -> None:
    done = cli("run", "--rm", "--init", "host", "sh", "-c", "echo $$; cat /proc/1/comm")
    assert done.stdout.split()[0] != "1"
    assert cli("run", "--rm", "--init", "host", "sh", "-c", "exit 9").returncode == 9


def test_namespaces_of_the_host() -> None:
    own = {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in ("net", "pid", "ipc", "uts", "cgroup", "mnt")}
    script = "for n in net pid ipc uts cgroup mnt; do readlink /proc/self/ns/$n; done"
    private = cli("run", "--rm", "host", "sh", "-c", script).stdout.split()
    assert not set(private) & set(own.values())
    flags = ["--network", "host", "--pid", "host", "--ipc", "host", "--uts", "host", "--cgroupns", "host"]
    shared = cli("run", "--rm", *flags, "host", "sh", "-c", script).stdout.split()
    assert set(own.values()) - set(shared) == {own["mnt"]}


def test_a_user_namespace_of_its_own() -> None:
    done = cli("run", "--rm", "--userns", "private", "host", "sh", "-c", "readlink /proc/self/ns/user; id -u; touch /etc/x")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() != [os.readlink("/proc/self/ns/user"), "0"]
    assert done.stdout.split()[1] == "0"


def test_the_networks_loopback_is_up() -> None:
    done = cli("run", "--rm", "host", "cat", "/sys/class/net/lo/operstate", "/proc/net/dev")
    assert "lo:" in done.stdout and "eth0" not in done.stdout


def test_sysctls_ulimits_and_shm() -> None:
    script = "cat /proc/sys/net/ipv4/ip_forward; ulimit -n; df -k /dev/shm | tail -1"
    flags = ["--sysctl", "net.ipv4.ip_forward=1", "--ulimit", "nofile=123:456", "--shm-size", "1m"]
    out = cli("run", "--rm", *flags, "host", "sh", "-c", script).stdout.split()
    assert out[:2] == ["1", "123"]
    assert out[3] == "1024"


def test_cidfile(tmp_path: Path) -> None:
    path = tmp_path / "cid"
    assert cli("run", "--rm", "--cidfile", str(path), "host", "true").returncode == 0
    assert len(path.read_text()) == 64
    again = cli("run", "--rm", "--cidfile", str(path), "host", "true")
    assert again.returncode == 125 and "container ID file found" in again.stderr
    other = tmp_path / "other"
    assert cli("run", "--rm", "--cidfile", str(other), "host", "no-such-command").returncode == 127
    assert not other.exists()


def test_trace(tmp_path: Path) -> None:
    import json

    table = cli("run", "--rm", "--trace", "host", "true")
    assert table.returncode == 0 and "µs" in table.stderr and "overlay" in table.stderr
    path = tmp_path / "trace.json"
    assert cli("run", "--rm", f"--trace={path}", "host", "true").returncode == 0
    events = json.loads(path.read_text())["traceEvents"]
    assert {event["name"] for event in events if event["ph"] == "X"} >= {"mount", "execve"}


def test_explain() -> None:
    import json

    done = cli("explain", "-m", "64m", "--cap-drop", "ALL", "-v", "/etc:/x:ro", "host", "true")
    assert done.returncode == 0, done.stderr
    for word in ("overlay", "pivot", "-m 64MiB", "--cap-drop ALL", "-v /etc:/x:ro"):
        assert word in done.stdout, word
    ops = json.loads(cli("explain", "--json", "host", "true").stdout)["ops"]
    assert {op["side"] for op in ops} >= {"host", "container"}

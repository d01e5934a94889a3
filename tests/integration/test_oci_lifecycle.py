"""pyrt-oci as its callers use it, on the real kernel: from create to delete, and what is left when something is killed."""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.ocibundle import TOP, Oci, busybox, until

pytestmark = [pytest.mark.root, pytest.mark.skipif(busybox() is None, reason="needs a static busybox (busybox-static)")]

FOREVER = "trap 'exit 3' TERM; while :; do sleep 0.05; done"


@pytest.fixture
def oci(tmp_path: Path) -> Iterator[Oci]:
    made = Oci(tmp_path)
    try:
        yield made
    finally:
        made.close()


def cgroups_of(container_id: str) -> list[str]:
    found = []
    for folder, below, _ in os.walk("/sys/fs/cgroup"):
        if os.path.basename(folder) == container_id:
            found.append(folder)
        below[:] = [name for name in below if not name.startswith(("system", "user"))]
    return found


def alive(pid: int) -> bool:
    """It is there, and not only waiting for its parent to look."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


# -- run -------------------------------------------------------------------------------------------------------------


def test_run_in_the_foreground(oci: Oci) -> None:
    done = oci.run("echo out; echo err >&2; id -u; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n0\n", "err\n")
    assert os.listdir(oci.root) == []
    assert cgroups_of(oci.ids[-1]) == []


def test_run_dies_of_a_signal(oci: Oci) -> None:
    assert oci.run("sh -c 'kill -9 $$'; exit $?").returncode == 137


def test_run_reads_stdin(oci: Oci) -> None:
    oci.set(None, "tr", "a-z", "A-Z")
    argv = oci.argv("run", "--bundle", str(oci.bundle), oci.name())
    done = subprocess.run(argv, input="abc", capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(TOP)})
    assert (done.returncode, done.stdout) == (0, "ABC")


def test_signals_to_run_reach_the_container(oci: Oci) -> None:
    oci.set(None, "sh", "-c", f"trap 'echo got; exit 5' USR1; echo up; {FOREVER}")
    argv = oci.argv("run", "--bundle", str(oci.bundle), oci.name())
    env = {**os.environ, "PYTHONPATH": str(TOP)}
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env=env) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "up\n"
        running.send_signal(signal.SIGUSR1)
        assert running.stdout.read() == "got\n"
    assert running.returncode == 5


def test_run_keep(oci: Oci) -> None:
    assert oci.run("exit 4", "--keep").returncode == 4
    assert oci.state(oci.ids[-1])["status"] == "stopped"
    oci.good("delete", oci.ids[-1])


# -- the life of a container ---------------------------------------------------------------------------------------------


def test_life(oci: Oci, tmp_path: Path) -> None:
    oci.set(lambda c: c.update(annotations={"a.b": "c"}), "sh", "-c", f"echo started; {FOREVER}")
    pid_file = tmp_path / "pid"
    c = oci.create("--pid-file", str(pid_file))
    state = oci.state(c)
    assert state["status"] == "created"
    assert state["pid"] == int(pid_file.read_text())
    assert (state["id"], state["bundle"], state["rootfs"]) == (c, str(oci.bundle), str(oci.rootfs))
    assert state["annotations"] == {"a.b": "c"}
    assert oci.output() == ""
    assert "already exists" in oci.bad("create", "--bundle", str(oci.bundle), c)
    oci.good("start", c)
    until(lambda: oci.output() == "started\n")
    assert oci.state(c)["status"] == "running"
    assert oci.bad("start", c) == "cannot start an already running container"
    assert oci.bad("delete", c) == f"cannot delete container {c} that is not stopped: running"
    assert c in oci.good("list")
    assert oci.good("list", "--quiet") == f"{c}\n"
    (listed,) = json.loads(oci.good("list", "--format", "json"))
    assert (listed["id"], listed["status"], listed["owner"]) == (c, "running", "root")
    oci.good("kill", c)
    oci.wait(c, "stopped")
    assert oci.state(c)["pid"] == 0
    assert oci.bad("kill", c) == "container not running"
    assert oci.bad("start", c) == "cannot start a container that has stopped"
    assert oci.bad("exec", c, "true", code=255) == "exec failed: cannot exec in a stopped container"
    oci.good("delete", c)
    assert oci.bad("state", c) == "container does not exist"
    assert cgroups_of(c) == []
    assert os.listdir(oci.root) == []


def test_delete_ends_a_created_container(oci: Oci) -> None:
    c = oci.create()
    pid = oci.state(c)["pid"]
    oci.good("delete", c)
    assert not alive(pid)


def test_delete_force_ends_a_running_one(oci: Oci) -> None:
    oci.set(None, "sleep", "1000")
    c = oci.create()
    oci.good("start", c)
    oci.good("delete", "--force", c)
    assert oci.bad("state", c) == "container does not exist"


def test_kill_all_without_a_pid_namespace(oci: Oci) -> None:
    def shared(config: dict[str, Any]) -> None:
        config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] != "pid"]

    oci.set(shared, "sh", "-c", "sleep 1000 & sleep 1001; true")
    c = oci.create()
    oci.good("start", c)
    until(lambda: len(json.loads(oci.good("ps", "--format", "json", c))) == 3)
    pids = json.loads(oci.good("ps", "--format", "json", c))
    oci.good("kill", "--all", c, "KILL")
    until(lambda: not any(alive(pid) for pid in pids))
    oci.good("delete", c)


def test_a_paused_container_can_be_killed(oci: Oci) -> None:
    oci.set(None, "sleep", "1000")
    c = oci.create()
    oci.good("start", c)
    oci.good("pause", c)
    assert oci.state(c)["status"] == "paused"
    assert "paused" in oci.bad("exec", c, "true", code=255)
    assert "paused" in oci.bad("delete", c)
    oci.good("kill", c, "9")
    oci.wait(c, "stopped")


def test_pause_and_resume(oci: Oci) -> None:
    oci.set(None, "sh", "-c", "i=0; while :; do i=$((i+1)); echo $i >/tmp/count; sleep 0.01; done")
    oci.set(lambda config: config["root"].update(readonly=False))
    c = oci.create()
    oci.good("start", c)
    count = oci.rootfs / "tmp" / "count"
    until(lambda: count.exists() and count.read_text())
    oci.good("pause", c)
    before = count.read_text()
    time.sleep(0.2)
    assert count.read_text() == before
    assert oci.bad("pause", c) == "container not running"
    oci.good("resume", c)
    until(lambda: count.read_text() not in ("", before))
    assert oci.bad("resume", c) == "container not paused"


def test_hooks_run_at_their_times(oci: Oci, tmp_path: Path) -> None:
    log = tmp_path / "log"

    def hook(kind: str) -> list[dict[str, Any]]:
        return [{"path": "/bin/sh", "args": ["sh", "-c", f"echo {kind} $(cat) >>{log}"]}]

    kinds = ("prestart", "createRuntime", "poststart", "poststop")
    oci.set(lambda config: config.update(hooks={kind: hook(kind) for kind in kinds}), "true")
    c = oci.create()
    entries = [line.split(" ", 1) for line in log.read_text().splitlines()]
    assert [kind for kind, _ in entries] == ["prestart", "createRuntime"]
    assert all(json.loads(state)["pid"] == oci.state(c)["pid"] for _, state in entries)
    oci.good("start", c)
    oci.wait(c, "stopped")
    oci.good("delete", c)
    entries = [line.split(" ", 1) for line in log.read_text().splitlines()]
    assert [(kind, json.loads(state)["status"]) for kind, state in entries[2:]] == [
        ("poststart", "running"),
        ("poststop", "stopped"),
    ]


def test_a_failing_hook_of_create_undoes_everything(oci: Oci, tmp_path: Path) -> None:
    poststop = {"path": "/bin/sh", "args": ["sh", "-c", f"cat >{tmp_path}/poststop"]}
    oci.set(lambda config: config.update(hooks={"createRuntime": [{"path": "/bin/false"}], "poststop": [poststop]}))
    c = oci.name()
    assert "/bin/false" in oci.bad("create", "--bundle", str(oci.bundle), c)
    assert json.loads((tmp_path / "poststop").read_text())["status"] == "stopped"
    assert oci.bad("state", c) == "container does not exist"
    assert cgroups_of(c) == []


def test_a_failing_poststart_hook_is_only_a_warning(oci: Oci) -> None:
    oci.set(lambda config: config.update(hooks={"poststart": [{"path": "/bin/false"}]}), "sleep", "1000")
    c = oci.create()
    done = oci.command("start", c)
    assert done.returncode == 0
    assert "poststart hook /bin/false" in done.stderr
    assert oci.state(c)["status"] == "running"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["nosuch"], 'exec: "nosuch": executable file not found in $PATH'),
        (["/no/such"], "no such file or directory"),
        (["/etc"], "permission denied"),
    ],
)
def test_programs_that_cannot_run(oci: Oci, args: list[str], says: str) -> None:
    oci.set(None, *args)
    for verb in ("create", "run"):
        assert says in oci.bad(verb, "--bundle", str(oci.bundle), oci.name())
    assert os.listdir(oci.root) == []


def test_detached_run(oci: Oci, tmp_path: Path) -> None:
    oci.set(None, "sleep", "1000")
    c = oci.name()
    argv = oci.argv("run", "-d", "--pid-file", str(tmp_path / "pid"), "--bundle", str(oci.bundle), c)
    env = {**os.environ, "PYTHONPATH": str(TOP)}
    subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True, env=env)
    assert oci.state(c)["status"] == "running"
    assert oci.state(c)["pid"] == int((tmp_path / "pid").read_text())


def test_preserved_fds(oci: Oci, tmp_path: Path) -> None:
    (tmp_path / "three").write_text("this is three")
    oci.set(None, "sh", "-c", "cat <&3; ls /proc/self/fd")
    argv = oci.argv("run", "--preserve-fds", "1", "--bundle", str(oci.bundle), oci.name())
    env = {**os.environ, "PYTHONPATH": str(TOP)}
    script = f'exec 3<{tmp_path}/three; exec "$@"'
    done = subprocess.run(["sh", "-c", script, "sh", *argv], capture_output=True, text=True, check=False, env=env)
    assert done.stdout.startswith("this is three"), done.stderr
    assert "preserved-fd" in oci.bad("run", "--preserve-fds", "1", "--bundle", str(oci.bundle), oci.name())


# -- exec ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def running(oci: Oci) -> tuple[Oci, str]:
    oci.set(None, "sleep", "1000")
    c = oci.create()
    oci.good("start", c)
    return oci, c


def test_exec(running: tuple[Oci, str], tmp_path: Path) -> None:
    oci, c = running
    assert oci.good("exec", c, "sh", "-c", "echo $PPID; hostname").split() == ["0", "pyrt"]
    assert oci.command("exec", c, "sh", "-c", "exit 9").returncode == 9
    assert oci.good("exec", "--cwd", "/tmp", "-e", "A=b c", c, "sh", "-c", "pwd; echo $A") == "/tmp\nb c\n"
    assert oci.good("exec", "--user", "7:8", "-g", "9", c, "id") == "uid=7 gid=8 groups=9\n"
    assert "executable file not found" in oci.bad("exec", c, "nosuch", code=255)
    (tmp_path / "process.json").write_text(json.dumps({"args": ["id", "-u"], "cwd": "/", "user": {"uid": 5}, "env": ["PATH=/bin"]}))
    assert oci.good("exec", "--process", str(tmp_path / "process.json"), c) == "5\n"
    assert oci.bad("exec", c, code=255) == "exec failed: exec args cannot be empty"
    assert "bad uid" in oci.bad("exec", "--user", "root", c, "true", code=255)


def test_exec_detached(running: tuple[Oci, str], tmp_path: Path) -> None:
    oci, c = running
    argv = oci.argv("exec", "-d", "--pid-file", str(tmp_path / "pid"), c, "sleep", "999")
    env = {**os.environ, "PYTHONPATH": str(TOP)}
    subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True, env=env)
    pid = int((tmp_path / "pid").read_text())
    assert Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x00999\x00"
    assert pid in json.loads(oci.good("ps", "--format", "json", c))
    assert "sleep 999" in oci.good("ps", c)
    assert "sleep 999" in oci.good("ps", c, "-e", "-o", "pid,args")


def test_exec_has_no_more_rights_than_the_container(running: tuple[Oci, str]) -> None:
    oci, c = running
    status = oci.good("exec", c, "grep", "-E", "^(CapEff|CapBnd|NoNewPrivs)", "/proc/self/status")
    first = oci.good("exec", c, "grep", "-E", "^(CapEff|CapBnd|NoNewPrivs)", "/proc/1/status")
    assert status == first


def test_exec_into_one_that_waits_for_start(oci: Oci) -> None:
    c = oci.create()
    assert oci.good("exec", c, "sh", "-c", "echo $PPID; hostname").split() == ["0", "pyrt"]


def test_force_ends_what_start_waits_for(oci: Oci) -> None:
    hook = {"path": "/bin/sleep", "args": ["sleep", "1000"]}
    oci.set(lambda config: config.update(hooks={"startContainer": [hook]}))
    c = oci.create()
    env = {**os.environ, "PYTHONPATH": str(TOP)}
    with subprocess.Popen(oci.argv("start", c), stderr=subprocess.PIPE, text=True, env=env) as starting:
        until(lambda: "sleep" in oci.good("ps", c))
        oci.good("delete", "--force", c)
        assert starting.wait(20) != 0 or starting.stderr


def test_exec_sees_no_host_fd(running: tuple[Oci, str]) -> None:
    oci, c = running
    assert oci.good("exec", c, "ls", "/proc/self/fd").split() == ["0", "1", "2", "3"]


# -- limits ----------------------------------------------------------------------------------------------------------


def test_update_and_events(running: tuple[Oci, str], tmp_path: Path) -> None:
    oci, c = running
    oci.good("update", "--memory", "50m", "--pids-limit", "30", c)
    stats = json.loads(oci.good("events", "--stats", c))
    assert (stats["type"], stats["id"]) == ("stats", c)
    assert stats["data"]["memory"]["usage"]["limit"] == 50 << 20
    assert stats["data"]["pids"] == {"current": 1, "limit": 30}
    (tmp_path / "r.json").write_text(json.dumps({"pids": {"limit": 20}}))
    oci.good("update", "-r", str(tmp_path / "r.json"), c)
    data = json.loads(oci.good("events", "--stats", c))["data"]
    assert data["pids"]["limit"] == 20
    assert data["memory"]["usage"]["limit"] == 50 << 20
    assert "pids" in oci.bad("update", "--pids-limit", "x", c)
    assert "-2" in oci.bad("update", "-r", "-", c, stdin=_pipe(b'{"memory": {"limit": -2}}'))


def _pipe(data: bytes) -> int:
    read, write = os.pipe()
    os.write(write, data)
    os.close(write)
    return read


# -- the terminal ----------------------------------------------------------------------------------------------------


def receive_master(listener: socket.socket) -> int:
    listener.settimeout(20)
    connection, _ = listener.accept()
    with connection:
        _, fds, _, _ = socket.recv_fds(connection, 4096, 4)
    return array.array("i", fds)[0]


def test_console_socket(oci: Oci, tmp_path: Path) -> None:
    oci.set(lambda config: config["process"].update(terminal=True, consoleSize={"height": 33, "width": 77}))
    oci.set(None, "sh", "-c", "tty; stty size; cat")
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()
        c = oci.create("--console-socket", path)
        master = receive_master(listener)
    oci.good("start", c)
    try:
        seen = b""
        end = time.monotonic() + 10
        while b"33 77" not in seen and time.monotonic() < end:
            seen += os.read(master, 4096)
        assert b"/dev/" in seen
        os.write(master, b"hello\n")
        while seen.count(b"hello") < 2 and time.monotonic() < end:
            seen += os.read(master, 4096)
        assert seen.count(b"hello") == 2
    finally:
        os.close(master)


def test_terminal_needs_a_socket_when_nobody_stays(oci: Oci) -> None:
    oci.set(lambda config: config["process"].update(terminal=True))
    assert "console socket" in oci.bad("create", "--bundle", str(oci.bundle), oci.name())
    oci.set(lambda config: config["process"].update(terminal=False))
    assert "console socket" in oci.bad("create", "--console-socket", "/x", "--bundle", str(oci.bundle), oci.name())


# -- when something is killed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0.1, 0.2, 0.3, 0.4])
def test_create_killed_midway_leaves_nothing_that_stays(oci: Oci, after: float) -> None:
    c = oci.name()
    oci.set(None, "sleep", "1000")
    env = {**os.environ, "PYTHONPATH": str(TOP)}
    argv = oci.argv("create", "--bundle", str(oci.bundle), c)
    making = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
    time.sleep(after)
    making.kill()
    making.wait()
    known = oci.command("state", c).returncode == 0
    oci.good("delete", "--force", c)
    assert oci.bad("state", c) == "container does not exist"
    if not known:
        until(lambda: cgroups_of(c) == [])
    assert cgroups_of(c) == []
    assert not (oci.root / c).exists()
    again = oci.create()
    oci.good("delete", again)


def test_a_reused_pid_is_somebody_else(oci: Oci) -> None:
    oci.set(None, "sleep", "1000")
    c = oci.create()
    path = oci.root / c / "state.json"
    record = json.loads(path.read_text())
    pid = record["pid"]
    record["pid"] = os.getpid()
    path.write_text(json.dumps(record))
    assert oci.state(c)["status"] == "stopped"
    assert oci.bad("kill", c, "KILL") == "container not running"
    record["pid"] = pid
    path.write_text(json.dumps(record))
    assert oci.state(c)["status"] == "created"


def test_an_init_that_dies_while_it_waits(oci: Oci) -> None:
    c = oci.create()
    os.kill(oci.state(c)["pid"], signal.SIGKILL)
    oci.wait(c, "stopped")
    assert oci.bad("start", c) == "cannot start a container that has stopped"
    oci.good("delete", c)


# -- without a mount namespace ---------------------------------------------------------------------------------------


def mounts_below(folder: Path) -> list[str]:
    return [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if line.split()[4].startswith(str(folder))]


def no_mount_namespace(config: dict[str, Any]) -> None:
    linux = config["linux"]
    linux["namespaces"] = [space for space in linux["namespaces"] if space["type"] != "mount"]
    linux.pop("maskedPaths", None)
    linux.pop("readonlyPaths", None)


def test_mounts_in_the_hosts_namespace_go_with_the_container(oci: Oci) -> None:
    oci.set(no_mount_namespace, "sh", "-c", FOREVER)
    name = oci.create()
    assert mounts_below(oci.bundle)
    oci.good("delete", "--force", name)
    assert mounts_below(oci.bundle) == []


def test_mounts_in_the_hosts_namespace_go_with_a_failed_start(oci: Oci) -> None:
    oci.set(no_mount_namespace, "/no/such/program")
    oci.bad("run", "--bundle", str(oci.bundle), oci.name())
    assert mounts_below(oci.bundle) == []

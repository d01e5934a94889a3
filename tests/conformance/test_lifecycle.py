"""Containers from their start to their removal, as each peer drives the runtime through them."""

from __future__ import annotations

import time

import pytest

from tests.conformance.machine import cgroups_named, mounts_below, processes_naming, read, wait_until
from tests.conformance.peer import Options, Peer

# Ends at once on TERM, with a code of its own; pid 1 ignores what it has no handler for.
POLITE = ["sh", "-c", "trap 'exit 41' TERM; trap 'echo usr1' USR1; echo ready; while :; do sleep 0.05; done"]
SLEEP = ["sleep", "300"]


def test_output_and_exit_code(peer: Peer, name: str) -> None:
    done = peer.run(name, ["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert (done.code, done.out.strip(), done.err.strip()) == (7, "out", "err"), done.said
    assert peer.state(name) == "none"


@pytest.mark.parametrize("code", [0, 1, 125, 255])
def test_exit_codes(peer: Peer, name: str, code: int) -> None:
    assert peer.run(name, ["sh", "-c", f"exit {code}"]).code == code


@pytest.mark.parametrize(("command", "code"), [("no-such-command", 127), ("/no/such/command", 127), ("/etc/passwd", 126)])
def test_what_cannot_be_executed(peer: Peer, name: str, command: str, code: int) -> None:
    done = peer.run(name, [command])
    assert command in done.err
    # ctr ends with 1 whatever the runtime said.
    assert done.code == (1 if peer.name == "containerd" else code), done.said


def test_isolation(peer: Peer, name: str) -> None:
    script = "echo $$; ls /proc | grep -c '^[0-9]'; ls /sys/class/net; cat /proc/1/mountinfo | grep -c /oldroot; ls /dev | sort | xargs"
    done = peer.run(name, ["sh", "-c", script]).ok()
    pid, processes, *links, old, devices = done.out.splitlines()
    assert pid == "1"
    assert int(processes) <= 3
    assert links == ["lo"]
    assert old == "0"
    assert {"full", "null", "ptmx", "pts", "random", "shm", "tty", "urandom", "zero"} <= set(devices.split())
    assert not {"kmsg", "mem", "sda", "vda"} & set(devices.split())


def test_standard_input(peer: Peer, name: str) -> None:
    # `head` ends by count: ctr run does not pass on the end of its own input. That end is tested with exec.
    done = peer.run(name, ["sh", "-c", "head -n 1000 | tr a-z A-Z"], Options(interactive=True), text="abc\n" * 1000)
    assert done.ok().out == "ABC\n" * 1000


def test_background_logs_and_exit_code(peer: Peer, name: str) -> None:
    peer.begin(name, POLITE)
    wait_until(lambda: "ready" in peer.logs(name), "the container's first line in its logs")
    assert peer.state(name) == "running"
    peer.kill(name, "USR1")
    wait_until(lambda: "usr1" in peer.logs(name), "the signal's effect in its logs")
    peer.kill(name, "TERM")
    assert peer.wait(name) == 41


def test_kill(peer: Peer, name: str) -> None:
    peer.begin(name, SLEEP)
    peer.kill(name, "KILL")
    assert peer.wait(name) == 137


def test_stop(peer: Peer, name: str) -> None:
    peer.begin(name, POLITE)
    wait_until(lambda: "ready" in peer.logs(name), "the container's first line in its logs")
    peer.halt(name, 20)
    assert peer.wait(name) == 41


def test_stop_of_one_that_ignores_it(peer: Peer, name: str) -> None:
    peer.begin(name, SLEEP)
    peer.halt(name, 1)
    assert peer.wait(name) == 137


def test_pause_and_unpause(peer: Peer, name: str) -> None:
    peer.begin(name, ["sh", "-c", "while :; do echo x; sleep 0.05; done"])
    wait_until(lambda: "x" in peer.logs(name), "output before the pause")
    peer.pause(name)
    assert peer.state(name) == "paused"
    # What was in flight arrives, then nothing more does.
    time.sleep(0.3)
    before = peer.logs(name)
    time.sleep(0.5)
    assert peer.logs(name) == before
    peer.unpause(name)
    assert peer.state(name) == "running"
    wait_until(lambda: peer.logs(name) != before, "output after the pause")


def test_removal_of_a_paused_container(peer: Peer, name: str) -> None:
    peer.begin(name, SLEEP)
    pid = peer.pid(name)
    peer.pause(name)
    peer.remove(name)
    assert peer.state(name) == "none"
    wait_until(lambda: not read(f"/proc/{pid}/stat"), "the end of its process")


def test_restart(peer: Peer, name: str) -> None:
    peer.begin(name, ["sh", "-c", "echo $$ started; exec sleep 300"])
    first = peer.pid(name)
    peer.again(name)
    assert peer.state(name) == "running"
    assert peer.pid(name) != first


def test_processes(peer: Peer, name: str) -> None:
    peer.begin(name, ["sh", "-c", "sleep 300 & sleep 301 & wait"])
    wait_until(lambda: len(peer.pids(name)) == 3, "three processes in its list")
    assert peer.pid(name) in peer.pids(name)


def test_removal_leaves_nothing(peer: Peer, name: str) -> None:
    before = {*mounts_below("/run"), *mounts_below(str(peer.folder))}
    peer.begin(name, ["sh", "-c", "sleep 300 & exec sleep 300"])
    wait_until(lambda: len(peer.pids(name)) == 2, "both processes")
    pids = peer.pids(name)
    groups = [line for pid in pids for line in read(f"/proc/{pid}/cgroup").splitlines() if peer.scratch.cgroup in line]
    assert groups
    own = groups[0].rsplit("/", 1)[1]
    assert cgroups_named(own)
    peer.remove(name)
    wait_until(lambda: not any(read(f"/proc/{pid}/stat") for pid in pids), "the end of its processes")
    wait_until(lambda: not cgroups_named(own), f"the removal of the cgroup {own}")
    wait_until(lambda: not processes_naming(own), "the end of the processes that served it")
    assert {*mounts_below("/run"), *mounts_below(str(peer.folder))} <= before


def test_many_at_once(peer: Peer) -> None:
    names = [f"many{number}" for number in range(4)]
    try:
        for one in names:
            peer.begin(one, SLEEP)
        assert {peer.state(one) for one in names} == {"running"}
        assert len({peer.pid(one) for one in names}) == len(names)
    finally:
        for one in names:
            peer.remove(one)
    assert {peer.state(one) for one in names} == {"none"}


def test_init(peer: Peer, name: str) -> None:
    """The pid namespace's end is the container's end: what it left running goes with it."""
    done = peer.run(name, ["sh", "-c", "sleep 307 & exit 3"])
    assert done.code == 3
    wait_until(lambda: not processes_naming("sleep 307"), "the end of what was left running")


def test_restart_policy(peer: Peer, name: str) -> None:
    peer.begin(name, ["sh", "-c", "echo once; exit 1"], Options(restart="on-failure:2"))
    wait_until(lambda: peer.logs(name).count("once") == 3 and peer.state(name) == "exited", "two restarts", 20)

"""What a container may use and do, as the peers ask the runtime for it and as the kernel then sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.machine import limit_of, read, unmounted_controllers, wait_until
from tests.conformance.peer import Options, Peer

SLEEP = ["sleep", "300"]
MIB = 1 << 20


def has_all_capabilities() -> bool:
    last = int(read("/proc/sys/kernel/cap_last_cap"))
    bounding = next(line.split()[1] for line in read("/proc/self/status").splitlines() if line.startswith("CapBnd:"))
    return int(bounding, 16) == (2 << last) - 1


def test_memory(peer: Peer, name: str) -> None:
    peer.begin(name, SLEEP, Options(memory=64 * MIB))
    assert limit_of(peer.pid(name), "memory") == str(64 * MIB)


def test_processes(peer: Peer, name: str) -> None:
    peer.begin(name, SLEEP, Options(pids=33))
    assert limit_of(peer.pid(name), "pids") == "33"


def test_processor_time(peer: Peer, name: str) -> None:
    peer.begin(name, SLEEP, Options(cpus=0.5))
    quota, period = limit_of(peer.pid(name), "cpu").split()
    assert int(quota) * 2 == int(period)


def test_update(peer: Peer, name: str) -> None:
    peer.begin(name, SLEEP, Options(memory=64 * MIB))
    peer.update(name, memory=96 * MIB)
    assert limit_of(peer.pid(name), "memory") == str(96 * MIB)
    assert peer.state(name) == "running"


def test_out_of_memory(peer: Peer, name: str) -> None:
    # The shell stays to be asked; its child is the one that asks for too much.
    peer.begin(name, ["sh", "-c", "tail /dev/zero; echo ended $?; exec sleep 300"], Options(memory=32 * MIB))
    wait_until(lambda: "ended" in peer.logs(name), "the end of the greedy process", 30)
    assert "ended 137" in peer.logs(name)


def skip_if_blind(peer: Peer) -> None:
    if peer.name != "podman" and (unmounted := unmounted_controllers()):
        pytest.skip(f"containerd's shim reads no cgroup where a hierarchy is not mounted ({', '.join(unmounted)})")


def test_out_of_memory_is_reported(peer: Peer, name: str) -> None:
    skip_if_blind(peer)
    # The shell outlives its child: whoever asks the cgroup has none to ask once the container has gone.
    peer.begin(name, ["sh", "-c", "tail /dev/zero; echo ended; exec sleep 300"], Options(memory=32 * MIB))
    wait_until(lambda: "ended" in peer.logs(name), "the end of the greedy process", 30)
    wait_until(lambda: peer.oom_killed(name), "the news of it")


def test_statistics(peer: Peer, name: str) -> None:
    skip_if_blind(peer)
    peer.begin(
        name,
        ["sh", "-c", "dd if=/dev/zero of=/dev/shm/x bs=1M count=16 2>/dev/null; echo written; exec sleep 300"],
        Options(memory=64 * MIB),
    )
    wait_until(lambda: "written" in peer.logs(name), "16 MiB written")
    assert 16 * MIB <= peer.memory_used(name) <= 64 * MIB


def test_read_only_root(peer: Peer, name: str) -> None:
    done = peer.run(name, ["sh", "-c", "touch /etc/x || echo refused"], Options(read_only=True))
    assert done.ok().out.strip() == "refused"


def test_volumes(peer: Peer, name: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").write_text("from outside")
    (tmp_path / "out").mkdir()
    volumes = ((str(tmp_path / "in"), "/in", False), (str(tmp_path / "out"), "/deep/er/out", True))
    done = peer.run(name, ["sh", "-c", "cat /in/file > /deep/er/out/copy; touch /in/x || echo refused"], Options(volumes=volumes))
    assert done.ok().out.strip() == "refused"
    assert (tmp_path / "out" / "copy").read_text() == "from outside"


def test_working_directory_is_made(peer: Peer, name: str) -> None:
    assert peer.run(name, ["pwd"], Options(cwd="/made/for/it")).ok().out.strip() == "/made/for/it"


def test_environment(peer: Peer, name: str) -> None:
    assert peer.run(name, ["sh", "-c", "echo $WHAT; echo $PATH"], Options(env=("WHAT=a b",))).ok().out.splitlines()[0] == "a b"


def test_user(peer: Peer, name: str) -> None:
    assert peer.run(name, ["id"], Options(user="guest")).ok().out.startswith("uid=1000(guest) gid=1000(guest)")


@pytest.mark.parametrize(
    ("options", "expected"), [(Options(), True), (Options(cap_drop=("CHOWN",)), False), (Options(cap_add=("SYS_TIME",)), True)]
)
def test_capabilities(peer: Peer, name: str, options: Options, expected: bool) -> None:
    done = peer.run(name, ["sh", "-c", "grep -E '^Cap(Eff|Bnd)' /proc/self/status | cut -f2"], options).ok()
    effective, bounding = (int(line, 16) for line in done.out.split())
    assert bool(effective & 1) is expected
    assert effective == bounding
    assert bool(effective >> 25 & 1) is bool(options.cap_add)


def test_privileged(peer: Peer, name: str) -> None:
    done = peer.run(name, ["sh", "-c", "mount -t tmpfs none /tmp && ls /dev/kmsg"], Options(privileged=True))
    if "caps: operation not permitted" in done.err and not has_all_capabilities():
        pytest.skip("this machine's root lacks capabilities that a privileged container is to have")
    # ctr gives a privileged container no more devices.
    assert done.code == 0 or (peer.name == "containerd" and "kmsg" in done.err), done.said


def test_masked_and_read_only_paths(peer: Peer, name: str) -> None:
    script = "head -c 1 /proc/kcore 2>/dev/null | wc -c; ls /proc/acpi 2>/dev/null | wc -l; echo 1 > /proc/sysrq-trigger || echo refused; echo x > /proc/sys/kernel/domainname || echo refused"
    done = peer.run(name, ["sh", "-c", script]).ok()
    assert done.out.split() == ["0", "0", "refused", "refused"]


def test_a_device_that_was_not_given(peer: Peer, name: str) -> None:
    # With every right to make the node, but none to open it: the cgroup says no.
    done = peer.run(name, ["sh", "-c", "mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg"])
    assert done.code != 0
    assert "not permitted" in done.err

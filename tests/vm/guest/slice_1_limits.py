"""Limits bite on cgroup v2, and are told: through `import pyrt`, in one process, since starting Python takes this guest a second."""

from __future__ import annotations

from kit import CGROUPS, PAYLOAD, pyrt_cli

import pyrt


def check_memory_limit_kills() -> None:
    done = pyrt.run("host", [PAYLOAD, "eat", "100"], memory="64m", text=True)
    assert done.oom_killed, done
    assert done.returncode == 137, done
    assert "ate" not in done.stdout


def check_memory_within_limit_is_told() -> None:
    done = pyrt.run("host", [PAYLOAD, "eat", "20"], memory="64m", text=True, check=True)
    assert not done.oom_killed
    assert done.stdout == "ate\n"
    assert done.usage.memory_peak is not None
    assert 20 << 20 <= done.usage.memory_peak <= 64 << 20, done.usage


def check_memory_limit_on_the_command_line() -> None:
    done = pyrt_cli("run", "--rm", "-m", "64m", "host", PAYLOAD, "eat", "100")
    assert (done.code, done.out) == (137, ""), done


def check_pids_limit() -> None:
    done = pyrt.run("host", [PAYLOAD, "forks", "40"], pids_limit=8, text=True, check=True)
    assert int(done.stdout) == 7, done  # the eighth is the one that counts


def check_cpu_quota() -> None:
    """Half a CPU, as the kernel accounts it. When the host is busy the guest's clock jumps and a period overshoots: best of three."""
    shares: list[float] = []
    while len(shares) < 3 and not (shares and min(shares) <= 0.6):
        script = f"{PAYLOAD} spin 2000 && cat /sys/fs/cgroup/cpu.stat /sys/fs/cgroup/cpu.max"
        done = pyrt.run("host", ["sh", "-c", script], cpus=0.5, text=True, check=True)
        spent, *stat, quota = done.stdout.splitlines()
        assert quota == "50000 100000"
        throttled = int(dict(line.split() for line in stat)["nr_throttled"])
        assert throttled >= 4, done
        shares.append(int(spent) / 2000)
    assert 0.3 <= min(shares) <= 0.75, shares


def check_device_access_denied() -> None:
    """The node of the kernel's log can be made, and not be opened; the null device can."""
    script = f"mknod /dev/log1 c 1 11 && ls /dev/log1 && {PAYLOAD} open /dev/log1; {PAYLOAD} open /dev/null"
    done = pyrt.run("host", ["sh", "-c", script], text=True)
    assert done.stdout.splitlines() == ["/dev/log1", "Operation not permitted", "open"], done


def check_limits_seen_inside() -> None:
    files = ("memory.max", "memory.swap.max", "pids.max", "cpu.max", "cpuset.cpus")
    done = pyrt.run(
        "host",
        ["cat", *(f"/sys/fs/cgroup/{file}" for file in files)],
        memory="96m",
        memory_swap="96m",
        pids_limit=33,
        cpus=1.5,
        cpuset_cpus="1",
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(96 << 20), "0", "33", "150000", "100000", "1"], done


def check_timeout_kills_all() -> None:
    """What the container left running in the background ends with it: cgroup.kill."""
    done = pyrt.run("host", ["sh", "-c", "sleep 600 & sleep 600 & wait"], timeout=2, text=True)
    assert done.timed_out, done


def check_no_cgroup_left() -> None:
    left = [path.name for path in CGROUPS.glob("pyrt/eph-*")]
    assert not left, left

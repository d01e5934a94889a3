from pathlib import Path
from typing import Any

import pytest

from pyrt.base.errors import InvalidRequest
from pyrt.cli.options import request_from
from pyrt.cli.run import run
from pyrt.model.run import RunRequest


def parse(*args: str) -> RunRequest:
    context = run.make_context("pyrt run", list(args))
    given: dict[str, Any] = dict(context.params)
    given.pop("trace")
    return request_from(given)


def test_every_flag_of_docker_run(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("F=1\n")
    line = (
        f"--rm -i -t -e A=1 --env-file {tmp_path}/env -w /w -u web --hostname h --name n1 -m 64m --memory-swap 128m "
        "--cpus 0.5 --cpu-shares 512 --cpuset-cpus 0 --pids-limit 20 --ulimit nofile=1:2 --read-only --tmpfs /t -v /a:/b "
        "--mount type=tmpfs,dst=/c --cap-add NET_ADMIN --cap-drop KILL --privileged --security-opt no-new-privileges "
        "--device /dev/null --sysctl net.ipv4.ip_forward=1 --shm-size 1m --init --entrypoint /e --label a=b "
        "--stop-signal USR1 --network none --pid host --ipc host --uts host --userns host --cgroupns host "
        "--cidfile /x host cmd -x --rm"
    )
    req = parse(*line.split())
    assert (req.image, req.args) == ("host", ("cmd", "-x", "--rm"))
    assert req.remove and req.interactive and req.tty and req.read_only and req.privileged and req.init
    assert req.env == ("F=1", "A=1")
    assert (req.workdir, req.user, req.hostname, req.name) == ("/w", "web", "h", "n1")
    assert (req.memory, req.memory_swap, req.nano_cpus, req.cpu_shares) == (64 << 20, 128 << 20, 500_000_000, 512)
    assert (req.cpuset_cpus, req.pids_limit, req.shm_size) == ("0", 20, 1 << 20)
    assert [m.target for m in req.mounts] == ["/b", "/c"] and req.tmpfs[0].target == "/t"
    assert (req.cap_add, req.cap_drop, req.security_opt) == (("NET_ADMIN",), ("KILL",), ("no-new-privileges",))
    assert req.devices[0].source == "/dev/null" and req.sysctls == (("net.ipv4.ip_forward", "1"),)
    assert req.entrypoint == ("/e",) and req.labels == (("a", "b"),) and req.stop_signal == "USR1"
    assert (req.network, req.pid, req.ipc, req.uts, req.userns, req.cgroupns) == ("none", *["host"] * 5)
    assert req.cidfile == "/x"


def test_rootfs_either_way() -> None:
    assert (parse("--rootfs", "/d", "a").rootfs, parse("--rootfs", "/d", "a").args) == ("/d", ("a",))
    assert (parse("--rootfs", "--rm", "/d", "a").rootfs, parse("--rootfs", "--rm", "/d", "a").args) == ("/d", ("a",))


def test_an_empty_entrypoint_is_none() -> None:
    assert parse("--entrypoint", "", "host", "a").entrypoint == ()
    assert parse("host", "a").entrypoint is None


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((), "requires at least 1 argument"),
        (("-m", "x", "host"), 'invalid argument "x" for "--memory" flag'),
        (("--cpus", "x", "host"), 'invalid argument "x" for "--cpus" flag'),
        (("--pids-limit", "x", "host"), 'invalid argument "x" for "--pids-limit" flag'),
        (("--ulimit", "x", "host"), 'for "--ulimit" flag'),
        (("-v", "x", "host"), "-v|volume"),
        (("--env-file", "/nothing", "host"), "cannot read env file"),
        (("--label", "=", "host"), "--label"),
        (("--rootfs", "--rm"), "which directory"),
    ],
)
def test_complaints_name_the_flag(args: tuple[str, ...], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        parse(*args)

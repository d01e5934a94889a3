"""What exec's command line makes of the container's own process."""

from __future__ import annotations

from typing import Any

import pytest

from pyrt.base.errors import InvalidRequest
from pyrt.model import oci
from pyrt.runtime.host import HostFacts
from pyrt.runtime.oci import enter
from pyrt.runtime.oci.enter import Changes, changed

OWN = oci.Process(
    cwd="/own",
    args=("init",),
    env=("A=1",),
    terminal=True,
    user=oci.User(uid=1, gid=2, additional_gids=(3,), umask=0o27),
    capabilities=oci.LinuxCapabilities(bounding=("CAP_KILL",), inheritable=("CAP_KILL",)),
    no_new_privileges=True,
)


def test_little_is_changed_when_little_is_said() -> None:
    process = changed(OWN, Changes(args=("ls", "-l")))
    assert process.args == ("ls", "-l")
    assert process.terminal is False
    assert (process.cwd, process.env, process.user) == (OWN.cwd, OWN.env, OWN.user)
    assert (process.capabilities, process.no_new_privileges) == (OWN.capabilities, True)


def test_everything() -> None:
    changes = Changes(
        args=("sh",),
        tty=True,
        cwd="/tmp",
        env=("A=2", "B="),
        user="7:8",
        additional_gids=(9,),
        apparmor="p",
        process_label="l",
        no_new_privs=False,
        caps=("CAP_CHOWN",),
    )
    process = changed(OWN, changes)
    assert (process.cwd, process.env, process.terminal) == ("/tmp", ("A=1", "A=2", "B="), True)
    assert process.user == oci.User(uid=7, gid=8, additional_gids=(3, 9), umask=0o27)
    assert (process.apparmor_profile, process.selinux_label, process.no_new_privileges) == ("p", "l", False)
    assert process.capabilities == oci.LinuxCapabilities(
        bounding=("CAP_KILL", "CAP_CHOWN"),
        effective=("CAP_CHOWN",),
        permitted=("CAP_CHOWN",),
        inheritable=("CAP_KILL",),
        ambient=("CAP_CHOWN",),
    )


def test_a_uid_alone_leaves_the_gid() -> None:
    assert changed(OWN, Changes(args=("x",), user="0")).user.gid == 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"args": ()}, "exec args cannot be empty"),
        ({"user": "root"}, "bad uid"),
        ({"user": "0:wheel"}, "bad gid"),
        ({"user": "-1"}, "bad uid"),
        ({"user": str(1 << 32)}, "bad uid"),
        ({"additional_gids": (-1,)}, "positive"),
    ],
)
def test_nonsense(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        changed(OWN, Changes(**{"args": ("x",), **changes}))


def test_sub_cgroups() -> None:
    v1, v2 = HostFacts(mode="v1"), HostFacts(mode="v2")
    assert enter._sub_cgroups((), v1) == {}
    assert enter._sub_cgroups(("a/b",), v2) == {"": "a/b"}
    assert enter._sub_cgroups(("cpu,cpuacct:x", "pids:y"), v1) == {"cpu": "x", "cpuacct": "x", "pids": "y"}
    for bad in (("a", "b"), (",cpu:x",), ("cpu:x", "cpu:y"), ("cpu:../x",)):
        with pytest.raises(InvalidRequest, match="--cgroup"):
            enter._sub_cgroups(bad, v1)
    with pytest.raises(InvalidRequest, match="prefix"):
        enter._sub_cgroups(("a",), v1)

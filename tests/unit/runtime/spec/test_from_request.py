"""What docker run would do with the same flags."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pyrt.base.errors import InvalidRequest, NotFound, PyrtError, Unsupported
from pyrt.base.units import RLIM_INFINITY
from pyrt.model import flags, oci
from pyrt.model.image import ImageConfig
from pyrt.model.run import RunRequest, Tmpfs
from pyrt.runtime.spec import defaults
from pyrt.runtime.spec.from_request import Built, Surroundings, build_spec

ID = "0123456789ab" + "c" * 52
ROOT = Surroundings(
    root=True,
    uid=0,
    gid=0,
    capabilities=frozenset(defaults.CAPABILITIES) - {"CAP_SYS_RESOURCE"},
    uid_map=((0, 0, 4294967295),),
    gid_map=((0, 0, 4294967295),),
    cpus=2,
    nodename="machine",
)
USER = replace(ROOT, root=False, uid=1000, gid=1000, uid_map=((0, 1000, 1),), gid_map=((0, 1000, 1),), capabilities=frozenset())
IMAGE = ImageConfig(env=("IMG=1", "PATH=/img"), cmd=("sh",))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:\nweb:x:33:34::/www:\n")
    (tmp_path / "etc/group").write_text("root:x:0:\nwww:x:34:\n")
    return tmp_path


def build(root: Path, *, here: Surroundings = ROOT, image: ImageConfig = IMAGE, **fields: Any) -> Built:
    fields.setdefault("args", ("cmd",))
    req = RunRequest("", rootfs=str(root), **fields)
    return build_spec(req, container_id=ID, image_root=str(root), image=image, here=here)


def process(root: Path, **fields: Any) -> oci.Process:
    found = build(root, **fields).spec.process
    assert found is not None
    return found


def linux(root: Path, **fields: Any) -> oci.Linux:
    found = build(root, **fields).spec.linux
    assert found is not None
    return found


def mounts(root: Path, **fields: Any) -> dict[str, oci.Mount]:
    return {mount.destination: mount for mount in build(root, **fields).spec.mounts}


def test_defaults(root: Path) -> None:
    spec = build(root).spec
    assert spec.hostname == ID[:12]
    assert spec.root is not None and not spec.root.readonly
    assert [ns.type for ns in linux(root).namespaces] == ["mount", "pid", "network", "ipc", "uts", "cgroup"]
    caps = process(root).capabilities
    assert caps is not None and set(caps.bounding) == set(defaults.DEFAULT_CAPABILITIES) == set(caps.effective)
    assert linux(root).seccomp is not None
    assert "/proc/kcore" in linux(root).masked_paths and "/proc/sys" in linux(root).readonly_paths


def test_environment(root: Path) -> None:
    env = process(root, env=("A=1", "A=2", "HOME=/h"), tty=True).env
    assert env == ("PATH=/img", f"HOSTNAME={ID[:12]}", "TERM=xterm", "IMG=1", "A=2", "HOME=/h")
    assert "HOME=/www" in process(root, user="web").env
    for bad in ("A", "=x"):
        with pytest.raises(InvalidRequest, match="invalid environment variable"):
            build(root, env=(bad,))


def test_command(root: Path) -> None:
    image = ImageConfig(entrypoint=("/entry",), cmd=("default",))
    assert process(root, args=(), image=image).args == ("/entry", "default")
    assert process(root, args=("x",), image=image).args == ("/entry", "x")
    assert process(root, args=("x",), entrypoint=("/other",), image=image).args == ("/other", "x")
    assert process(root, args=(), entrypoint=("/other",), image=image).args == ("/other",)
    with pytest.raises(InvalidRequest, match="no command specified"):
        build(root, args=(), image=ImageConfig())


def test_users_and_capabilities(root: Path) -> None:
    web = process(root, user="web")
    assert (web.user.uid, web.user.gid, web.user.additional_gids) == (33, 34, (34,))
    assert web.capabilities is not None and web.capabilities.bounding and not web.capabilities.effective
    with pytest.raises(NotFound, match="unable to find user nobody"):
        build(root, user="nobody")


def capabilities(root: Path, **fields: Any) -> set[str]:
    found = process(root, **fields).capabilities
    assert found is not None
    return set(found.bounding)


def test_adding_and_dropping_capabilities(root: Path) -> None:
    default = set(defaults.DEFAULT_CAPABILITIES)
    assert capabilities(root, cap_add=("net_admin",)) == default | {"CAP_NET_ADMIN"}
    assert capabilities(root, cap_drop=("CAP_KILL",)) == default - {"CAP_KILL"}
    assert capabilities(root, cap_drop=("ALL",)) == set()
    assert capabilities(root, cap_drop=("ALL",), cap_add=("KILL",)) == {"CAP_KILL"}
    known = set(defaults.all_capabilities()) - {"CAP_SYS_RESOURCE"}
    assert capabilities(root, cap_add=("ALL",), cap_drop=("KILL",)) == known - {"CAP_KILL"}
    assert capabilities(root, privileged=True) == known
    with pytest.raises(InvalidRequest, match='invalid CapAdd: unknown capability: "CAP_NOPE"'):
        build(root, cap_add=("nope",))


def test_privileged(root: Path) -> None:
    found = linux(root, privileged=True)
    assert found.seccomp is None and not found.masked_paths and not found.readonly_paths
    assert found.resources is not None and found.resources.devices == defaults.ALL_DEVICES
    assert "ro" not in mounts(root, privileged=True)["/sys"].options


def test_limits(root: Path) -> None:
    resources = linux(root, memory=64 << 20, nano_cpus=500_000_000, cpu_shares=512, cpuset_cpus="0-1", pids_limit=20).resources
    assert resources is not None and resources.memory is not None and resources.cpu is not None
    assert (resources.memory.limit, resources.memory.swap) == (64 << 20, 128 << 20)
    assert (resources.cpu.quota, resources.cpu.period, resources.cpu.shares) == (50_000, 100_000, 512)
    assert resources.cpu.cpus == "0-1"
    assert resources.pids is not None and resources.pids.limit == 20
    unlimited = linux(root, memory=64 << 20, memory_swap=-1).resources
    assert unlimited is not None and unlimited.memory is not None and unlimited.memory.swap == -1


BAD: list[dict[str, Any]] = [
    {"memory": 1},
    {"memory": -1},
    {"memory_swap": 1 << 30},
    {"memory": 1 << 30, "memory_swap": 1 << 20},
    {"memory": 1 << 30, "memory_reservation": 1 << 31},
    {"memory_swap": -2},
    {"nano_cpus": 3_000_000_000},
    {"nano_cpus": 1},
    {"cpu_shares": 1},
    {"cpuset_cpus": "a"},
    {"cpuset_mems": "1-"},
    {"pids_limit": -2},
    {"shm_size": -1},
    {"oom_score_adj": 1001},
    {"network": "bridge"},
    {"network": ""},
    {"pid": "container:x"},
    {"ipc": "x"},
    {"uts": "x"},
    {"cgroupns": "x"},
    {"userns": "x"},
    {"uts": "host", "hostname": "x"},
    {"uts": "host", "domainname": "x"},
    {"hostname": "a b"},
    {"hostname": "x" * 65},
    {"workdir": "relative"},
    {"args": ("a\0b",)},
    {"env": ("A=\0",)},
    {"name": "a b"},
    {"stop_signal": "NOPE"},
    {"security_opt": ("what",)},
    {"security_opt": ("no-new-privileges=maybe",)},
    {"security_opt": ("seccomp=/nothing",)},
    {"security_opt": ('seccomp={"defaultAction": 1}',)},
    {"security_opt": ("seccomp={x",)},
    {"security_opt": ("label=type:x",)},
    {"security_opt": ("systempaths=masked",)},
    {"sysctls": (("kernel.panic", "1"),)},
    {"sysctls": (("..", "1"),)},
    {"sysctls": (("net.ipv4.ip_forward", "1"),), "network": "host"},
    {"sysctls": (("kernel.msgmax", "1"),), "ipc": "host"},
    {"tmpfs": (Tmpfs("/x", ("what",)),)},
    {"tmpfs": (Tmpfs("/x", ("size=q",)),)},
    {"tmpfs": (Tmpfs("/x"), Tmpfs("/x"))},
    {"devices": (flags.parse_device("/dev/nothing"),)},
    {"devices": (flags.parse_device("/etc/passwd"),)},
    {"mounts": (flags.parse_mount("type=bind,src=/nothing/at/all,dst=/x"),)},
    {"privileged": True, "userns": "private"},
    {"user": "4294967295"},
    {"cap_drop": ("x",)},
]


@pytest.mark.parametrize("fields", BAD, ids=str)
def test_what_makes_no_sense_is_one_line(root: Path, fields: dict[str, Any]) -> None:
    with pytest.raises(PyrtError) as caught:
        build(root, **fields)
    assert str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.exit_code == 125


def test_host_namespaces(root: Path) -> None:
    found = build(root, network="host", pid="host", ipc="host", uts="host", cgroupns="host")
    assert found.spec.linux is not None
    assert [ns.type for ns in found.spec.linux.namespaces] == ["mount"]
    assert found.spec.hostname == ""
    assert "--network host" in found.origins["linux.namespaces"]
    assert build(root, network="host").spec.hostname == "machine"
    assert mounts(root, ipc="host")["/dev/shm"].type == "bind"
    assert "/dev/shm" not in mounts(root, ipc="none")


def test_mount_order_and_replacement(root: Path) -> None:
    found = build(
        root,
        mounts=(
            flags.parse_volume(f"{root}:/a/b/c"),
            flags.parse_volume(f"{root}:/a:ro"),
            flags.parse_mount("type=tmpfs,dst=/dev/shm,tmpfs-size=1m"),
        ),
        tmpfs=(Tmpfs("/run", ("size=64m", "exec")),),
        image=replace(IMAGE, fresh_tmp=True),
    )
    order = [mount.destination for mount in found.spec.mounts]
    assert order.index("/a") < order.index("/a/b/c")
    assert order.count("/dev/shm") == order.count("/run") == 1
    by_path = {mount.destination: mount for mount in found.spec.mounts}
    assert by_path["/a"].options == ("rbind", "rprivate", "ro")
    assert by_path["/run"].options == ("nosuid", "nodev", "size=67108864", "exec")
    assert "size=1048576" in by_path["/dev/shm"].options
    assert found.origins[f"mounts[{order.index('/a')}]"] == f"-v {root}:/a:ro"


def test_a_missing_source_of_v_is_made(root: Path) -> None:
    build(root, mounts=(flags.parse_volume(f"{root}/new/dir:/x"),))
    assert (root / "new/dir").is_dir()


def test_read_only(root: Path) -> None:
    image = replace(IMAGE, fresh_tmp=True)
    spec = build(root, read_only=True, image=image).spec
    assert spec.root is not None and spec.root.readonly
    assert "ro" in mounts(root, read_only=True, image=image)["/tmp"].options
    assert "ro" not in mounts(root, image=image)["/tmp"].options


def test_shm_size(root: Path) -> None:
    assert "size=67108864" in mounts(root)["/dev/shm"].options
    assert "size=1024" in mounts(root, shm_size=1024)["/dev/shm"].options


def test_security_options(root: Path) -> None:
    assert process(root, security_opt=("no-new-privileges",)).no_new_privileges
    assert not process(root, security_opt=("no-new-privileges=false",)).no_new_privileges
    assert process(root, security_opt=("apparmor=mine",)).apparmor_profile == "mine"
    assert process(root, security_opt=("apparmor=unconfined",)).apparmor_profile == ""
    assert linux(root, security_opt=("seccomp=unconfined",)).seccomp is None
    own = linux(root, security_opt=('seccomp={"defaultAction": "SCMP_ACT_ALLOW"}',)).seccomp
    assert own is not None and own.default_action == "SCMP_ACT_ALLOW"
    assert linux(root, security_opt=("systempaths=unconfined",)).masked_paths == ()
    assert process(root, security_opt=("label=disable",)).selinux_label == ""
    selinux = replace(ROOT, selinux=True)
    assert process(root, here=selinux, security_opt=("label=type:x_t",)).selinux_label == "system_u:system_r:x_t:s0"


def test_ulimits_sysctls_and_the_rest(root: Path) -> None:
    found = build(
        root,
        ulimits=(flags.ulimit("nofile=1:2"), flags.ulimit("core=-1")),
        sysctls=(("net/ipv4/ip_forward", "1"), ("kernel.msgmax", "5")),
        oom_score_adj=5,
        labels=(("a", "b"),),
        stop_signal="USR1",
        domainname="d",
    )
    assert found.spec.process is not None and found.spec.linux is not None
    limits = {limit.type: (limit.soft, limit.hard) for limit in found.spec.process.rlimits}
    assert limits == {"RLIMIT_NOFILE": (1, 2), "RLIMIT_CORE": (RLIM_INFINITY, RLIM_INFINITY)}
    assert found.spec.linux.sysctl == {"net.ipv4.ip_forward": "1", "kernel.msgmax": "5"}
    assert found.spec.process.oom_score_adj == 5
    assert found.spec.annotations["a"] == "b"
    assert found.spec.domainname == "d"


def test_devices(root: Path) -> None:
    found = linux(root, devices=(flags.parse_device("/dev/full:/dev/x:r"),))
    node = found.devices[0]
    assert (node.path, node.type, node.major, node.minor) == ("/dev/x", "c", 1, 7)
    assert found.resources is not None
    rule = found.resources.devices[-1]
    assert (rule.allow, rule.major, rule.minor, rule.access) == (True, 1, 7, "r")


def test_without_root_there_is_a_user_namespace(root: Path) -> None:
    found = linux(root, here=USER)
    assert [ns.type for ns in found.namespaces][-1] == "user"
    assert found.uid_mappings == (oci.IDMapping(container_id=0, host_id=1000, size=1),)
    assert "gid=5" not in mounts(root, here=USER)["/dev/pts"].options
    assert mounts(root, here=USER, network="host")["/sys"].type == "bind"
    with pytest.raises(Unsupported, match="not mapped"):
        build(root, here=USER, user="web")
    with pytest.raises(Unsupported, match="needs root"):
        build(root, here=USER, userns="host")


def test_links_in_the_image_are_not_followed_to_the_host(root: Path) -> None:
    (root / "etc/passwd").unlink()
    (root / "etc/passwd").symlink_to("/etc/passwd")
    with pytest.raises(NotFound):
        build(root, user="daemon")

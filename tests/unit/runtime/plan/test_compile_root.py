from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from pyrt import native as n
from pyrt.base.errors import InvalidSpec
from pyrt.model import oci
from pyrt.runtime.overlay_root import ExtraLayer, OverlayRoot, RootFile
from pyrt.runtime.plan import constants as k
from tests.unit.runtime.plan.kit import V2, compiled, find, listed, make_spec, namespaces, one, order


def test_a_directory_becomes_the_root() -> None:
    plan = compiled(make_spec())
    assert one(plan, n.OP_ROOT).s[0] == "/bundle/rootfs" and one(plan, n.OP_ROOT).n == (1,)
    assert one(plan, n.OP_PROPAGATION).n[1] == k.MS_SLAVE | k.MS_REC
    assert order(plan, n.OP_PROPAGATION, n.OP_ROOT, n.OP_PIVOT)
    assert one(compiled(make_spec(root=oci.Root(path="/abs/../root"))), n.OP_ROOT).s[0] == "/root"


def test_in_a_user_namespace_root_takes_the_directory_beforehand() -> None:
    mapping = (oci.IDMapping(container_id=0, host_id=100000, size=65536),)
    linux = {"namespaces": namespaces("mount", "user"), "uid_mappings": mapping, "gid_mappings": mapping}
    plan = compiled(make_spec(linux=linux))
    tree, bind, root = one(plan, n.OP_OPEN_TREE), one(plan, n.OP_BIND), one(plan, n.OP_ROOT)
    assert tree.s[0] == "/bundle/rootfs" and bind.n[3] == tree.n[1] and root.s[0] == bind.s[1] and root.n == (0,)


def test_read_only_and_no_pivot() -> None:
    plan = compiled(make_spec(root=oci.Root(path="r", readonly=True)), no_pivot=True)
    assert one(plan, n.OP_MOUNT_ATTR, "/").n[0] == k.MOUNT_ATTR_RDONLY
    assert one(plan, n.OP_PIVOT).n == (1,)
    assert order(plan, n.OP_DEVICE, n.OP_MOUNT_ATTR, n.OP_PIVOT)


def test_a_throw_away_root(tmp_path: Path) -> None:
    tmp_path.chmod(0o751)
    overlay = OverlayRoot(
        lower=(str(tmp_path), "/second"),
        extra=(ExtraLayer("/home", "/home"), ExtraLayer("/cdrom", "/cdrom", "bind")),
        files=(RootFile("/etc/hosts", b"x", 0o600, 0o700, 1, 2),),
    )
    plan = compiled(make_spec(), overlay=overlay)
    assert one(plan, n.OP_MKDIR_HOST).s[0] == "/run/pyrt/mnt"
    assert one(plan, n.OP_MOUNT, "/run/pyrt/mnt").s[2] == "tmpfs"
    assert one(plan, n.OP_MKDIR, "/run/pyrt/mnt/u").n[0] == 0o751, "the merged root looks as the lower one does"
    merged = one(plan, n.OP_MOUNT, "/run/pyrt/mnt/r")
    assert listed(merged.s[3]) == [f"lowerdir+={tmp_path}", "lowerdir+=/second", "upperdir=/run/pyrt/mnt/u", "workdir=/run/pyrt/mnt/w"]
    assert one(plan, n.OP_MKDIR, "/etc").n == (0o700, 1, 2, n.AT_ROOT)
    file = one(plan, n.OP_WRITE_FILE, "/etc/hosts")
    assert file.n == (1, 0o600)
    assert plan.ops.index(file) < plan.ops.index(merged), "into the upper directory: no copy-up"
    home = next(op for op in find(plan, n.OP_MOUNT) if op.s[1] == "/home")
    assert "lowerdir+=/home" in listed(home.s[3]) and home.n[2] == n.AT_ROOT
    assert one(plan, n.OP_BIND, "/cdrom").n[0] & k.MS_RDONLY
    assert find(plan, n.OP_ROOT)[-1].s[0] == "/run/pyrt/mnt/r"


def test_older_kernels_take_all_layers_in_one_option() -> None:
    old = msgspec.structs.replace(V2, kernel=(6, 1))
    options = listed(one(compiled(make_spec(), old, overlay=OverlayRoot(lower=("/a", "/b"))), n.OP_MOUNT, "/run/pyrt/mnt/r").s[3])
    assert options[0] == "lowerdir=/a:/b"
    odd = listed(one(compiled(make_spec(), old, overlay=OverlayRoot(lower=("/a:b",))), n.OP_MOUNT, "/run/pyrt/mnt/r").s[3])
    assert odd[0] == "lowerdir+=/a:b", "the executor escapes what has to be"


def test_propagation_of_the_root() -> None:
    def propagations(word: str) -> list[tuple[str, int]]:
        plan = compiled(make_spec(root=oci.Root(path="/"), linux={"namespaces": namespaces(), "rootfs_propagation": word}))
        return [(str(op.s[0]), op.n[1]) for op in find(plan, n.OP_PROPAGATION)]

    assert propagations("shared") == [("/", k.MS_SHARED), ("/", k.MS_PRIVATE), ("/", k.MS_SHARED)]
    assert propagations("rprivate") == [("/", k.MS_PRIVATE | k.MS_REC), ("/", k.MS_PRIVATE | k.MS_REC)]
    assert propagations("slave") == [("/", k.MS_SLAVE | k.MS_REC), ("/", k.MS_SLAVE)]
    assert propagations("unbindable") == [("/", k.MS_SLAVE | k.MS_REC), ("/", k.MS_UNBINDABLE)]
    with pytest.raises(InvalidSpec, match="rootfsPropagation"):
        propagations("odd")


def test_a_root_is_needed() -> None:
    with pytest.raises(InvalidSpec, match=r"root\.path"):
        compiled(make_spec(root=None))


def test_the_working_directory_is_made_if_it_can_be() -> None:
    plan = compiled(make_spec(process={"cwd": "/a/b"}))
    assert one(plan, n.OP_MKDIR, "/a/b").flags & n.F_OPTIONAL
    assert one(plan, n.OP_CWD).s == ("/a/b",)
    assert not find(compiled(make_spec()), n.OP_MKDIR)

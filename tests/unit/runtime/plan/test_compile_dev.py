from __future__ import annotations

import msgspec
import pytest

from pyrt import native as n
from pyrt.base.errors import InvalidSpec
from pyrt.model import oci
from pyrt.runtime.plan import constants as k
from tests.unit.runtime.plan.kit import V2, compiled, find, make_spec, namespaces, one, order


def test_default_devices_and_links() -> None:
    plan = compiled(make_spec())
    assert [op.s[0] for op in find(plan, n.OP_DEVICE)] == [f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty")]
    assert one(plan, n.OP_DEVICE, "/dev/null").n == (k.S_IFCHR | 0o666, 1, 3, 0, 0)
    links = {op.s[1]: op.s[0] for op in find(plan, n.OP_SYMLINK)}
    assert links["/dev/fd"] == "/proc/self/fd" and links["/dev/ptmx"] == "pts/ptmx" and "/dev/core" not in links
    assert find(compiled(make_spec(), msgspec.structs.replace(V2, kcore=True)), n.OP_SYMLINK, "/dev/core")


def test_the_spec_s_devices_win() -> None:
    devices = (
        oci.LinuxDevice(type="c", path="/dev/null", major=1, minor=3, file_mode=0o600, uid=5),
        oci.LinuxDevice(type="p", path="/fifo"),
        oci.LinuxDevice(type="u", path="/dev/x", major=9, minor=8),
    )
    plan = compiled(make_spec(linux={"namespaces": namespaces(), "devices": devices}))
    assert one(plan, n.OP_DEVICE, "/dev/null").n == (k.S_IFCHR | 0o600, 1, 3, 5, 0)
    assert one(plan, n.OP_DEVICE, "/fifo").n[0] == k.S_IFIFO | 0o666
    assert one(plan, n.OP_DEVICE, "/dev/x").n[:3] == (k.S_IFCHR | 0o666, 9, 8)
    assert one(plan, n.OP_DEVICE, "/fifo").why == "linux.devices[1]"
    with pytest.raises(InvalidSpec, match="none of c, b, u and p"):
        compiled(make_spec(linux={"namespaces": namespaces(), "devices": (oci.LinuxDevice(type="q", path="/q"),)}))


def test_a_bound_dev_stays_as_it_is() -> None:
    plan = compiled(make_spec(mounts=(oci.Mount(destination="/dev/", type="bind", source="/dev", options=("rbind",)),)))
    assert not find(plan, n.OP_DEVICE) and not find(plan, n.OP_SYMLINK)


def test_the_terminal() -> None:
    process = {"terminal": True, "console_size": oci.Box(height=24, width=80), "user": oci.User(uid=5)}
    plan = compiled(make_spec(process=process), console_slot=0)
    op = one(plan, n.OP_CONSOLE)
    assert op.n == (0, 24 << 16 | 80, 1, 5)
    assert plan.slots == 1
    assert order(plan, n.OP_SETSID, n.OP_ROOT, n.OP_CONSOLE, n.OP_PIVOT)


def test_the_terminal_goes_over_a_socket_that_the_plan_connects_to() -> None:
    plan = compiled(make_spec(process={"terminal": True}), console_socket="/run/c.sock", tty_size=(30, 100))
    assert one(plan, n.OP_CONNECT).s[0] == "/run/c.sock"
    assert one(plan, n.OP_CONSOLE).n[:2] == (one(plan, n.OP_CONNECT).n[0], 30 << 16 | 100)
    assert plan.slots == 0


def test_a_terminal_needs_somebody_who_holds_it() -> None:
    with pytest.raises(InvalidSpec, match="console socket"):
        compiled(make_spec(process={"terminal": True}))


def test_hidden_paths_come_last_and_stay_inside() -> None:
    plan = compiled(
        make_spec(linux={"namespaces": namespaces(), "masked_paths": ("/proc/kcore", "../x"), "readonly_paths": ("/proc/sys",)})
    )
    assert [op.s[0] for op in find(plan, n.OP_MASK)] == ["/proc/kcore", "/x"]
    assert one(plan, n.OP_READONLY).why == "linux.readonlyPaths[0]"
    assert order(plan, n.OP_DEVICE, n.OP_MASK, n.OP_PIVOT)

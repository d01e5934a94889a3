"""Machines and specs for the compiler's tests; nothing here looks at the real machine."""

from __future__ import annotations

import struct
from typing import Any

from pyrt import native as n
from pyrt.model import oci
from pyrt.runtime.host import Hierarchy, HostFacts
from pyrt.runtime.plan.compile import CompileOptions, compile_create
from pyrt.runtime.plan.encode import encode
from pyrt.runtime.plan.ops import Op, Plan
from pyrt.runtime.spec import defaults

ID = "ab" * 32


def v1(name: str, own: str = "") -> Hierarchy:
    return Hierarchy(f"/sys/fs/cgroup/{name}", tuple(name.split(",")), f"/sys/fs/cgroup/{name}{own}")


V1_HIERARCHIES = tuple(v1(name) for name in ("cpu,cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids"))
V1 = HostFacts(mode="v1", hierarchies=V1_HIERARCHIES, kcore=False)
HYBRID = HostFacts(
    mode="hybrid",
    hierarchies=(*V1_HIERARCHIES, Hierarchy("/sys/fs/cgroup/unified", (), "/sys/fs/cgroup/unified", True)),
    kcore=False,
)
CONTROLLERS = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids")
V2 = HostFacts(
    mode="v2",
    hierarchies=(Hierarchy("/sys/fs/cgroup", CONTROLLERS, "/sys/fs/cgroup/system.slice/caller.service", True),),
    v2_controllers=CONTROLLERS,
    kcore=False,
)
ROOTLESS = HostFacts(
    mode="v2",
    hierarchies=(Hierarchy("/sys/fs/cgroup", ("memory", "pids"), "/sys/fs/cgroup/user.slice/u.service/app.slice/term.scope", True),),
    v2_controllers=("memory", "pids"),
    euid=1000,
    egid=1000,
    newuidmap="/usr/bin/newuidmap",
    newgidmap="/usr/bin/newgidmap",
    kcore=False,
)


def namespaces(*kinds: str, **joined: str) -> tuple[oci.LinuxNamespace, ...]:
    made = tuple(oci.LinuxNamespace(type=kind) for kind in (kinds or defaults.DEFAULT_NAMESPACES))
    return made + tuple(oci.LinuxNamespace(type=kind, path=path) for kind, path in joined.items())


def make_spec(*, linux: dict[str, Any] | None = None, process: dict[str, Any] | None = None, **top: Any) -> oci.Spec:
    """A small spec; the dictionaries replace fields of its parts."""
    linux_fields: dict[str, Any] = {"namespaces": namespaces(), **(linux or {})}
    process_fields: dict[str, Any] = {"cwd": "/", "args": ("/bin/true",), "env": ("PATH=/bin", "HOME=/"), **(process or {})}
    fields: dict[str, Any] = {"oci_version": "1.2.0", "root": oci.Root(path="rootfs"), "mounts": (), **top}
    return oci.Spec(process=oci.Process(**process_fields), linux=oci.Linux(**linux_fields), **fields)


def compiled(spec: oci.Spec, facts: HostFacts = V2, **options: Any) -> Plan:
    """The plan, which the executor's own validator has looked at."""
    fields: dict[str, Any] = {"id": ID, "bundle": "/bundle", "run_dir": "/run/pyrt", **options}
    plan = compile_create(spec, facts, CompileOptions(**fields))
    n.validate(encode(plan))
    return plan


def find(plan: Plan, code: int, text: str | None = None) -> list[Op]:
    """Ops of a code, with this string among theirs."""
    return [op for op in plan.ops if op.code == code and (text is None or text in op.s)]


def one(plan: Plan, code: int, text: str | None = None) -> Op:
    found = find(plan, code, text)
    assert len(found) == 1, f"{len(found)} ops instead of one: {found}"
    return found[0]


def order(plan: Plan, *codes: int) -> bool:
    """Whether the first ops of these codes stand in this order."""
    places = [next(i for i, op in enumerate(plan.ops) if op.code == code) for code in codes]
    return places == sorted(places)


def listed(raw: str | bytes) -> list[str]:
    assert isinstance(raw, bytes)
    return raw[:-1].decode().split("\0") if raw else []


def writes(plan: Plan) -> dict[str, str]:
    """Path -> value of all writes on the host."""
    return {str(op.s[0]): bytes(op.s[1]).decode() if isinstance(op.s[1], bytes) else op.s[1] for op in find(plan, n.OP_WRITE)}


def u32s(raw: str | bytes) -> tuple[int, ...]:
    assert isinstance(raw, bytes)
    return struct.unpack(f"={len(raw) // 4}I", raw)

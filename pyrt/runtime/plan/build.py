"""The plan under construction: ops before and after the clone, fd slots, reasons."""

from __future__ import annotations

import posixpath

from pyrt import native as n
from pyrt.base.errors import InvalidSpec
from pyrt.model import oci
from pyrt.runtime.host import HostFacts
from pyrt.runtime.plan import constants as k
from pyrt.runtime.plan.ops import Op, Plan
from pyrt.runtime.plan.options import CompileOptions
from pyrt.runtime.plan.reasons import Reasons

__all__ = ["Build", "inside", "state_json"]

_NO_LINUX = oci.Linux()


class Build:
    """Everything the parts of the compiler share. ``before`` runs on the host; ``after`` starts with the clone."""

    __slots__ = ("after", "at_exit", "before", "caller_slots", "facts", "next_slot", "opt", "spec", "why")

    def __init__(self, spec: oci.Spec, facts: HostFacts, opt: CompileOptions) -> None:
        """An empty plan that knows how many fds the caller brings."""
        self.spec = spec
        self.facts = facts
        self.opt = opt
        self.why = Reasons(opt.origins)
        self.before: list[Op] = []
        self.after: list[Op] = []
        self.at_exit: list[Op] = []
        slots = opt.fd_base_slot + opt.preserve_fds if opt.preserve_fds else 0
        for slot in (opt.console_slot, opt.device_slot):
            if slot is not None:
                slots = max(slots, slot + 1)
        self.caller_slots = self.next_slot = slots

    @property
    def linux(self) -> oci.Linux:
        """The spec's Linux part."""
        return self.spec.linux or _NO_LINUX

    def new_slot(self) -> int:
        """A slot that no fd of the caller has."""
        if self.next_slot >= n.SLOTS:
            raise InvalidSpec(f"more than {n.SLOTS} open files are needed at once: fewer id-mapped mounts or --preserve-fds, please")
        self.next_slot += 1
        return self.next_slot - 1

    def plan(self) -> Plan:
        """The finished plan."""
        return Plan((*self.before, *self.after, *self.at_exit), self.caller_slots)

    # -- what the spec says about namespaces --

    def new_namespaces(self) -> int:
        """CLONE_NEW* of the namespaces to make."""
        flags = 0
        for space in self.linux.namespaces:
            if not space.path:
                flags |= k.NAMESPACES.get(space.type, 0)
        return flags

    def joined(self) -> dict[str, str]:
        """Type -> path of the namespaces to join."""
        return {space.type: space.path for space in self.linux.namespaces if space.path}

    def has_namespace(self, kind: str) -> bool:
        """Whether the container's namespace of this type is not the caller's."""
        return any(space.type == kind for space in self.linux.namespaces)


def inside(destination: str) -> str:
    """A path of the container, absolute and without "." and ".."."""
    return posixpath.normpath("/" + destination).replace("//", "/")


def state_json(spec: oci.Spec, container_id: str, bundle: str, status: str) -> tuple[str, str]:
    """The state that hooks read (runtime.md "State"), split where the pid stands."""
    import json  # only where there are hooks

    head = {"ociVersion": spec.oci_version, "id": container_id, "status": status}
    tail: dict[str, object] = {"bundle": bundle}
    if spec.annotations:
        tail["annotations"] = spec.annotations
    return json.dumps(head)[:-1] + ', "pid": ', ", " + json.dumps(tail)[1:]

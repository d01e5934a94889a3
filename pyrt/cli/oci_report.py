"""Commands of pyrt-oci that only look: state, list, ps, features, spec, and what they print."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pyrt
from pyrt.base.errors import Conflict, InvalidRequest, NotFound, PyrtError, errno_words

if TYPE_CHECKING:
    from pyrt.runtime.oci.container import Container
    from pyrt.runtime.oci.store import Store

__all__ = ["describe", "features", "list_containers", "print_list", "print_processes", "version", "write_spec"]


def describe(container: Container, owner: str = "") -> dict[str, Any]:
    """runc's state document: the specification's, with rootfs, created and owner."""
    from pyrt.runtime.oci.container import STOPPED

    record = container.record
    status = container.status()
    document: dict[str, Any] = {
        "ociVersion": record.oci_version,
        "id": record.id,
        "pid": 0 if status == STOPPED else record.pid,
        "status": status,
        "bundle": record.bundle,
        "rootfs": record.rootfs,
        "created": record.created,
    }
    if record.annotations:
        document["annotations"] = record.annotations
    document["owner"] = owner
    return document


def list_containers(store: Store, root_given: bool) -> list[dict[str, Any]]:
    """All containers. A missing root is an error only when it was asked for by name."""
    from pyrt.runtime.oci.container import Container

    try:
        ids = store.ids()
    except FileNotFoundError:
        if not root_given:
            return []
        raise NotFound(f"open {store.root}: no such file or directory") from None
    found = []
    for container_id in ids:
        try:
            owner = _user_name(store.owner(container_id))
            found.append(describe(Container.load(store, container_id), owner))
        except (NotFound, OSError):
            continue  # it went away meanwhile, or is being created
        except PyrtError as error:
            sys.stderr.write(f"load container {container_id}: {error}\n")
    return found


def _user_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def print_list(containers: list[dict[str, Any]], form: str, quiet: bool) -> str:
    """The text that `list` prints."""
    if quiet:
        return "".join(f"{c['id']}\n" for c in containers)
    if form == "json":
        return json.dumps(containers or None, separators=(",", ":")) + "\n"
    if form != "table":
        raise InvalidRequest("invalid format option")
    columns = ("id", "pid", "status", "bundle", "created", "owner")
    rows = [[c.upper() for c in columns], *([str(c[key]) for key in columns] for c in containers)]
    return _table(rows)


def _table(rows: list[list[str]]) -> str:
    """Columns at least 12 wide and 3 apart, as runc's."""
    widths = [max(12, max(len(row[i]) for row in rows) + 3) for i in range(len(rows[0]))]
    lines = ("".join(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)) + row[-1] for row in rows)
    return "\n".join(lines) + "\n"


def print_processes(pids: Iterable[int], form: str, ps_args: tuple[str, ...]) -> str:
    """The text that `ps` prints: host pids as JSON, or those lines of ps(1) that are about them."""
    wanted = set(pids)
    if form == "json":
        return json.dumps(sorted(wanted)) + "\n"
    if form != "table":
        raise InvalidRequest("invalid format option")
    import subprocess

    try:
        done = subprocess.run(["ps", *(ps_args or ("-ef",))], capture_output=True, text=True, check=False)
    except OSError as error:
        raise PyrtError(f"ps cannot be run: {errno_words(error.errno or 0)}: install procps, or use --format json") from None
    if done.returncode:
        raise PyrtError(f"exit status {done.returncode}: {(done.stdout + done.stderr).strip()}")
    title, *lines = done.stdout.splitlines() or [""]
    columns = title.split()
    if "PID" not in columns:
        raise PyrtError("couldn't find PID field in ps output")
    at = columns.index("PID")
    kept = [line for line in lines if _number(line.split(), at) in wanted]
    return "\n".join([title, *kept]) + "\n"


def _number(fields: list[str], at: int) -> int:
    return int(fields[at]) if at < len(fields) and fields[at].isdigit() else -1


def write_spec(bundle: str, rootless: bool) -> None:
    """Writes a template config.json into `bundle`. Raises Conflict when there is one already."""
    from pyrt.model import oci
    from pyrt.runtime.host import host_facts
    from pyrt.runtime.spec import defaults

    spec = defaults.template(cgroup_v2=host_facts().mode == "v2")
    if rootless:
        spec = defaults.rootless(spec, os.geteuid(), os.getegid())
    path = os.path.join(bundle, "config.json")
    try:
        with open(path, "xb") as file:
            file.write(oci.to_json(spec, indent=4) + b"\n")
    except FileExistsError:
        raise Conflict("File config.json exists. Remove it first") from None
    except OSError as error:
        raise PyrtError(f"{path}: cannot be written: {errno_words(error.errno or 0)}") from None


def version() -> str:
    """What --version prints: the lines that Docker and containerd read."""
    from pyrt.native import seccomp
    from pyrt.runtime.spec.defaults import OCI_VERSION

    lines = [f"pyrt-oci version {pyrt.__version__}", f"spec: {OCI_VERSION}"]
    library = seccomp.version()
    if library:
        lines.append(f"libseccomp: {library}")
    return "\n".join(lines)


def features() -> str:
    """The features document (features.md) of this runtime on this machine."""
    from pyrt.model import oci
    from pyrt.native import seccomp
    from pyrt.runtime.host import host_facts
    from pyrt.runtime.spec import defaults, validate

    facts = host_facts()
    library = seccomp.version()
    document = oci.Features(
        oci_version_min="1.0.0",
        oci_version_max=defaults.OCI_VERSION,
        hooks=oci.Hooks.__struct_encode_fields__,
        mount_options=_mount_options(),
        linux=oci.FeaturesLinux(
            namespaces=validate.NAMESPACES,
            capabilities=defaults.all_capabilities(),
            cgroup=oci.FeatureCgroup(v1=True, v2=True, systemd=False, systemd_user=False, rdma="rdma" in facts.v2_controllers),
            seccomp=oci.FeatureSeccomp(
                enabled=library is not None,
                actions=tuple(sorted(seccomp.ACTIONS)),
                operators=tuple(sorted(seccomp.OPERATORS)),
                archs=tuple(sorted(seccomp.ARCHITECTURES)),
                known_flags=tuple(sorted(seccomp.FLAGS)),
                supported_flags=tuple(sorted(seccomp.supported_flags())),
            ),
            apparmor=oci.FeatureEnabled(enabled=True),
            selinux=oci.FeatureEnabled(enabled=True),
            intel_rdt=oci.FeatureEnabled(enabled=False),
            mount_extensions=oci.FeatureMountExtensions(idmap=oci.FeatureEnabled(enabled=True)),
        ),
        annotations={
            "org.pyrt.version": pyrt.__version__,
            **({"io.github.seccomp.libseccomp.version": library} if library else {}),
        },
        potentially_unsafe_config_annotations=(),
    )
    return oci.to_json(document, indent=4).decode() + "\n"


def _mount_options() -> tuple[str, ...]:
    from pyrt.runtime.plan.mount_options import KNOWN

    return KNOWN

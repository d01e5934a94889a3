"""Mounts that a container without a mount namespace leaves in the host's."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyrt.base.errors import PyrtError
from pyrt.model import oci
from pyrt.runtime.oci import hostmounts
from pyrt.runtime.oci.hostmounts import detach_new, mounts_below, shares_the_hosts


def spec(*kinds: str) -> oci.Spec:
    return oci.Spec(oci_version="1.2.0", linux=oci.Linux(namespaces=tuple(oci.LinuxNamespace(type=kind) for kind in kinds)))


def test_only_without_a_mount_namespace() -> None:
    assert shares_the_hosts(spec("pid", "uts"))
    assert not shares_the_hosts(spec("pid", "mount"))


def test_a_folder_with_nothing_mounted_below(tmp_path: Path) -> None:
    assert mounts_below(str(tmp_path)) == ()
    detach_new(str(tmp_path), ())


def test_only_what_is_new_goes_and_the_last_one_first(monkeypatch: pytest.MonkeyPatch) -> None:
    gone: list[str] = []
    monkeypatch.setattr(hostmounts, "mounts_below", lambda root: ("/b", "/b/data", "/b", "/b/proc"))
    monkeypatch.setattr(hostmounts, "detach_mount", gone.append)
    detach_new("/b", ("/b", "/b/data"))
    assert gone == ["/b/proc", "/b"]


def test_one_that_stays_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise OSError(16, "busy")

    monkeypatch.setattr(hostmounts, "mounts_below", lambda root: ("/b",))
    monkeypatch.setattr(hostmounts, "detach_mount", refuse)
    with pytest.raises(PyrtError, match="umount /b: EBUSY"):
        detach_new("/b", ())

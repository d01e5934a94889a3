"""Bytes that are no configuration, and files that cannot be read: one line each."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyrt.base.errors import InvalidSpec, PyrtError
from pyrt.model import oci
from pyrt.runtime.spec import decode, defaults


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"process": null, "linux":\x8bnull}',
        '{"process": null, "linux":',
        "{",
        "[]",
        "null",
        "[" * 100_000,
        '{"ociVersion":"1.0.0"} x',
        '{"a":"\ud800"}',
    ],
)
def test_not_a_configuration(text: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        decode.decode(text.encode(errors="surrogatepass"))
    assert "\n" not in str(caught.value)


def test_files(tmp_path: Path) -> None:
    with pytest.raises(PyrtError, match="no such file"):
        decode.load(str(tmp_path / "config.json"))
    with pytest.raises(InvalidSpec, match="Is a directory"):
        decode.load(str(tmp_path))
    (tmp_path / "config.json").write_bytes(oci.to_json(defaults.template()))
    assert decode.load(str(tmp_path / "config.json")) == defaults.template()


def test_the_json_path_comes_first() -> None:
    with pytest.raises(InvalidSpec, match=r"^config.json: \$\.mounts\[1\]\.destination: expected `str`, got `int`$"):
        decode.decode(b'{"ociVersion": "1.2.0", "mounts": [{"destination": "/a"}, {"destination": 7}]}')


def test_nulls_are_absent() -> None:
    raw = b'{"ociVersion": "1.2.0", "mounts": null, "process": {"cwd": "/", "args": null, "user": null}, "linux": null}'
    spec = decode.decode(raw)
    assert spec.process == oci.Process(cwd="/")
    assert (spec.mounts, spec.linux) == ((), None)


def test_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MAX_SIZE", 10)
    (tmp_path / "f").write_bytes(b" " * 11)
    with pytest.raises(InvalidSpec, match="larger than 10 bytes"):
        decode.load(str(tmp_path / "f"))


def test_other_documents() -> None:
    resources = decode.decode_as(oci.LinuxResources, b'{"pids": {"limit": 5}}', "r.json")
    assert resources.pids == oci.LinuxPids(limit=5)
    with pytest.raises(InvalidSpec, match=r"^r.json: \$\.pids"):
        decode.decode_as(oci.LinuxResources, b'{"pids": {}}', "r.json")

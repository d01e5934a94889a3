import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from pyrt.base import paths
from pyrt.base.errors import NotFound
from pyrt.engine.explain import explain, explain_bundle
from pyrt.model import oci
from pyrt.model.run import RunRequest
from pyrt.runtime.spec import defaults


@pytest.fixture(autouse=True)
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PYRT_RUN_DIR", str(tmp_path / "run"))
    paths.forget()
    yield
    paths.forget()


def test_a_request_is_explained_by_its_flags() -> None:
    text = explain(RunRequest("host", ("true",), memory=64 << 20, pids_limit=20, cap_drop=("ALL",), tty=True))
    for word in ("overlay", "-m 64MiB", "--pids-limit 20", "--cap-drop ALL", "-t"):
        assert word in text, word


def test_json_has_an_entry_for_each_op() -> None:
    data = json.loads(explain(RunRequest("host", ("true",)), json=True))
    assert [op["index"] for op in data["ops"]] == list(range(len(data["ops"])))
    assert all(op["words"] and op["side"] in ("host", "container", "after") for op in data["ops"])


def test_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "rootfs").mkdir()
    spec = defaults.template()
    (tmp_path / "config.json").write_bytes(oci.to_json(replace(spec, process=replace(spec.process, terminal=False))))
    assert "pivot" in explain_bundle(str(tmp_path))
    with pytest.raises(NotFound):
        explain_bundle(str(tmp_path / "nothing"))

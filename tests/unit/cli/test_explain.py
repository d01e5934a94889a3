import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from pyrt.base.errors import InvalidRequest
from pyrt.cli.explain import explain
from pyrt.model import oci
from pyrt.runtime.spec import defaults


def shown(*args: str) -> str:
    return CliRunner().invoke(explain, list(args), catch_exceptions=False).output


def test_what_run_takes() -> None:
    assert "-m 64MiB" in shown("-m", "64m", "host", "true")
    assert json.loads(shown("--json", "host", "true"))["ops"]


def test_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "rootfs").mkdir()
    spec = defaults.template()
    (tmp_path / "config.json").write_bytes(oci.to_json(replace(spec, process=replace(spec.process, terminal=False))))
    assert "pivot" in shown("--bundle", str(tmp_path))
    with pytest.raises(InvalidRequest, match="takes no image"):
        shown("--bundle", str(tmp_path), "host")

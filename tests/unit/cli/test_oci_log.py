"""Where an error of pyrt-oci goes, and in which form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pyrt.base.errors import InvalidRequest
from pyrt.cli.oci_log import Log


def test_without_a_log_it_is_one_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log()
    log.error("no\nluck")
    log.warning("hm")
    log.detail("hidden")
    out, err = capsys.readouterr()
    plain, logged = err.splitlines()
    assert (out, plain) == ("", "no luck")
    assert logged.endswith(' level=warning msg="hm"')


def test_json_file_and_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = Log(str(tmp_path / "log"), "json", debug=True)
    log.detail("step")
    log.warning('say "hm"')
    log.error("ende: \u00e4")
    entries = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [(e["level"], e["msg"]) for e in entries] == [("debug", "step"), ("warning", 'say "hm"'), ("error", "ende: \u00e4")]
    assert capsys.readouterr().err == "ende: \u00e4\n"  # only what it failed for


def test_text_file_is_added_to(tmp_path: Path) -> None:
    for _ in range(2):
        Log(str(tmp_path / "log"), "text").error("x")
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == 2
    assert lines[0].endswith(' level=error msg="x"')


def test_nonsense(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="invalid log-format: xml"):
        Log("", "xml")
    with pytest.raises(InvalidRequest, match="No such file"):
        Log(str(tmp_path / "no" / "log"))

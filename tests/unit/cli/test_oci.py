"""pyrt-oci's command line without containers: options, errors, logs, and the documents that tools parse."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pyrt.cli import oci as command


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def oci(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)

    def call(*args: str) -> Result:
        with pytest.raises(SystemExit) as ended:
            command.main(["--root", str(tmp_path / "root"), *args])
        out, err = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Result(code, out, err)

    return call


@pytest.mark.parametrize(
    "args",
    [("state", "x"), ("kill", "x", "KILL"), ("delete", "x"), ("start", "x"), ("pause", "x"), ("resume", "x"), ("ps", "x")],
)
def test_no_such_container(oci: Any, args: tuple[str, ...]) -> None:
    result = oci(*args)
    assert result.code == 1
    assert result.err.strip() == "container does not exist"
    assert result.out == ""


def test_exec_fails_with_255(oci: Any) -> None:
    result = oci("exec", "x", "true")
    assert result.code == 255
    assert result.err.strip() == "exec failed: container does not exist"


def test_delete_force_of_nothing_is_fine(oci: Any) -> None:
    assert oci("delete", "--force", "x").code == 0
    assert oci("delete", "x", "--force").code == 0


def test_delete_removes_what_a_killed_create_left(oci: Any, tmp_path: Path) -> None:
    (tmp_path / "root" / "x").mkdir(parents=True)
    assert oci("delete", "x").code == 1
    assert not (tmp_path / "root" / "x").exists()


@pytest.mark.parametrize("id", ["", "a/b", "..", "a b"])
def test_ids(oci: Any, id: str, tmp_path: Path) -> None:
    for verb in ("create", "run", "state", "delete"):
        result = oci(verb, id)
        assert result.code == 1
        assert "container" in result.err
        assert result.err.count("\n") == 1


def test_bundles(oci: Any, tmp_path: Path) -> None:
    assert "no such bundle" in oci("create", "--bundle", "nowhere", "x").err
    result = oci("create", "x")
    assert result.code == 1
    assert f"JSON specification file {tmp_path}/config.json not found" in result.err
    (tmp_path / "config.json").write_text("{")
    assert "not JSON" in oci("run", "x").err
    (tmp_path / "config.json").write_text('{"ociVersion": "1.0.0"}')
    assert "$.root.path" in oci("run", "x").err
    assert not (tmp_path / "root" / "x").exists()


def test_usage_errors(oci: Any) -> None:
    for args in (("create",), ("state",), ("state", "a", "b"), ("create", "--no-such-flag", "x"), ("exec",)):
        result = oci(*args)
        assert result.code == 1
        assert result.err.startswith("Incorrect Usage: ")
        assert result.err.count("\n") == 1


def test_root_cannot_be_the_root(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["--root", "/", "list"])
    assert ended.value.code == 1
    assert "--root" in capsys.readouterr().err


def test_json_log_is_what_containerd_reads(oci: Any, tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    result = oci("--log", str(log), "--log-format", "json", "state", "x")
    assert result.err.strip() == "container does not exist"
    (line,) = log.read_text().splitlines()
    entry = json.loads(line)
    assert (entry["level"], entry["msg"]) == ("error", "container does not exist")
    assert entry["time"].endswith("Z")
    oci(f"--log={log}", "--log-format=json", "state", "--nope")
    assert json.loads(log.read_text().splitlines()[-1])["msg"].startswith("Incorrect Usage")


def test_text_log(oci: Any, tmp_path: Path) -> None:
    oci("--log", "log", "--debug", "state", "x")
    lines = (tmp_path / "log").read_text().splitlines()
    assert 'level=error msg="container does not exist"' in lines[-1]
    assert "level=debug" in lines[0]


def test_bad_log(oci: Any) -> None:
    assert "invalid log-format" in oci("--log-format", "xml", "list").err
    assert "No such file" in oci("--log", "/no/such/dir/log", "list").err


def test_list(oci: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert oci("list").code == 1
    (tmp_path / "root").mkdir()
    assert oci("list").out.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert oci("list", "-q").out == ""
    assert json.loads(oci("list", "--format", "json").out) is None
    assert oci("list", "--format", "xml").code == 1


def test_spec_is_written_once_and_is_valid(oci: Any, tmp_path: Path) -> None:
    assert oci("spec").code == 0
    (tmp_path / "rootfs").mkdir()
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["process"]["args"] == ["sh"]
    again = oci("spec")
    assert again.code == 1
    assert "exists" in again.err
    (tmp_path / "other").mkdir()
    assert oci("spec", "--rootless", "--bundle", "other").code == 0
    rootless = json.loads((tmp_path / "other" / "config.json").read_text())
    assert rootless["linux"]["uidMappings"] == [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
    assert "resources" not in rootless["linux"]


def test_features(oci: Any) -> None:
    document = json.loads(oci("features").out)
    assert document["ociVersionMax"].startswith("1.2")
    assert "createContainer" in document["hooks"]
    assert {"rbind", "rro", "idmap"} <= set(document["mountOptions"])
    assert len(document["linux"]["namespaces"]) == 8
    assert document["linux"]["cgroup"]["v2"] is True


def test_version(oci: Any) -> None:
    lines = oci("--version").out.splitlines()
    assert lines[0].startswith("pyrt-oci version ")
    assert lines[1].startswith("spec: 1.2")


def test_go_style_booleans() -> None:
    plain = command._plain_booleans(["exec", "--tty=true", "--detach=false", "x", "--", "--tty=true"])
    assert plain == ["exec", "--tty", "x", "--", "--tty=true"]


def test_what_callers_of_crun_say(oci: Any, tmp_path: Path) -> None:
    assert oci("--cgroup-manager", "cgroupfs", "--criu", "x", "delete", "-f", "x").code == 0
    assert "cgroupfs" in oci("--systemd-cgroup", "state", "x").err
    (tmp_path / "other.json").write_text("{")
    assert "other.json: not JSON" in oci("create", "-f", "other.json", "x").err


def test_help_has_a_title_and_unknown_commands_a_line(oci: Any) -> None:
    for args in (("--help",), ("create", "-h"), ("checkpoint", "-h"), ("events", "-h")):
        result = oci(*args)
        assert result.code == 0
        assert "NAME:" in result.out or args[0] == "events"
    assert oci("foo").err == "No help topic for 'foo'\n"
    assert "not supported by this runtime" in oci("checkpoint", "--image-path", "x", "c").err

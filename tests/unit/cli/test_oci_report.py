"""Tables and documents of pyrt-oci, as text."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from pyrt.base.errors import InvalidRequest, PyrtError
from pyrt.cli import oci_report as report

ONE: dict[str, Any] = {
    "id": "a-rather-long-id",
    "pid": 7,
    "status": "running",
    "bundle": "/b",
    "created": "2026-01-01T00:00:00Z",
    "owner": "root",
}


def test_list_table() -> None:
    title, row = report.print_list([ONE], "table", False).splitlines()
    assert title.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert row.split() == ["a-rather-long-id", "7", "running", "/b", "2026-01-01T00:00:00Z", "root"]
    assert title.index("PID") == row.index("7 ")


def test_list_other_forms() -> None:
    assert report.print_list([ONE], "table", True) == "a-rather-long-id\n"
    assert json.loads(report.print_list([ONE], "json", False)) == [ONE]
    assert report.print_list([], "json", False) == "null\n"  # as Go prints a nil slice
    with pytest.raises(InvalidRequest):
        report.print_list([], "yaml", False)


def test_processes() -> None:
    assert report.print_processes([5, 3], "json", ()) == "[3, 5]\n"
    title, own = report.print_processes([os.getpid()], "table", ("-e", "-o", "pid,args")).splitlines()
    assert title.split()[0] == "PID"
    assert own.split()[0] == str(os.getpid())
    with pytest.raises(PyrtError, match="PID field"):
        report.print_processes([1], "table", ("-e", "-o", "args"))
    with pytest.raises(PyrtError, match="exit status"):
        report.print_processes([1], "table", ("--no-such-option",))
    with pytest.raises(InvalidRequest):
        report.print_processes([1], "xml", ())


def test_version_lines_are_what_docker_reads() -> None:
    lines = report.version().splitlines()
    assert lines[0].startswith("pyrt-oci version ")
    assert lines[1].startswith("spec: ")


def test_features_are_a_document() -> None:
    document = json.loads(report.features())
    assert document["linux"]["seccomp"]["actions"]
    assert "CAP_CHOWN" in document["linux"]["capabilities"]

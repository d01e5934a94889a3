from __future__ import annotations

import errno
import json
from dataclasses import dataclass

from pyrt.runtime.plan import ops
from pyrt.runtime.plan.explain import chrome_trace, error_line, render, to_dict, to_json
from pyrt.runtime.plan.ops import Plan

PLAN = Plan(
    (
        ops.cgroup_mkdir("/c", why="-m 64m"),
        ops.clone(0x20020000, why="linux.namespaces"),
        ops.mount("proc", "/proc", "proc", why="mounts[0]").optional(),
        ops.execve(["true"], ["A=\xe4", "B=2"], "process.args"),
        ops.usage("/c/cpu.stat", 0, "usage_usec", 1000),
    ),
    slots=2,
)


@dataclass
class Times:
    begin_ns: int
    end_ns: int
    error: int = 0


@dataclass
class OtherTimes:
    begin_ns: int
    end_ns: int
    errno: int = 0


TRACE = [Times(1000, 3500), Times(4000, 9000), Times(9000, 9100, errno.EPERM), Times(9200, 9300), Times(0, 0)]


@dataclass
class Failure:
    errno: int
    op: int
    detail: str = ""


def test_the_table_numbers_the_ops_and_says_where_and_why() -> None:
    lines = render(PLAN).splitlines()
    assert lines[0].split() == ["#", "SIDE", "OP", "WHAT", "WHY"]
    assert lines[1].split() == ["0", "host", "cgroup", "mkdir", "make", "cgroup", "/c", "-m", "64m"]
    assert "container" in lines[3] and "(may fail)" in lines[3]
    assert lines[5].split()[1] == "after"
    assert len(lines) == 6


def test_a_trace_adds_microseconds_and_a_summary() -> None:
    lines = render(PLAN, TRACE).splitlines()
    assert lines[1].split()[1] == "2.5"
    assert "failed: EPERM (Operation not permitted)" in lines[3]
    assert lines[5].split()[1] == "-"
    assert lines[6] == "5 ops: host 8 µs, container 0 µs, after 0 µs; first to last 8 µs"


def test_times_of_the_executor_are_taken_as_well() -> None:
    assert "failed: ENOENT" in render(PLAN, [OtherTimes(1, 2, errno.ENOENT)] * 5)


def test_json_has_everything() -> None:
    data = json.loads(to_json(PLAN))
    assert data == to_dict(PLAN)
    assert [entry["index"] for entry in data["ops"]] == [0, 1, 2, 3, 4]
    assert data["slots"] == 2
    assert data["ops"][3]["strings"] == ["", ["true"], ["A=ä", "B=2"]]
    assert data["ops"][2]["optional"] is True
    timed = json.loads(to_json(PLAN, TRACE))
    assert timed["ops"][0]["duration_ns"] == 2500 and timed["ops"][0]["ran"]
    assert not timed["ops"][4]["ran"]


def test_binary_data_is_shown_in_hexadecimal() -> None:
    assert to_dict(Plan((ops.seccomp(b"\xff\x00\x00\x01" * 2),)))["ops"][0]["strings"][0] == "0xff000001ff000001"


def test_chrome_trace_events() -> None:
    data = json.loads(chrome_trace(PLAN, TRACE))
    spans = [event for event in data["traceEvents"] if event["ph"] == "X"]
    assert [event["name"] for event in spans] == ["cgroup mkdir", "clone", "mount", "execve"]
    assert spans[0]["ts"] == 0 and spans[1]["ts"] == 3.0 and spans[1]["dur"] == 5.0
    assert {event["tid"] for event in spans} == {1, 2}
    assert spans[2]["args"]["error"].startswith("EPERM")


def test_an_error_is_one_line() -> None:
    line = error_line(PLAN, Failure(errno.ENODEV, 2, "fsopen proc"))
    assert line == "op 2 mount proc on /proc: ENODEV (No such device) at fsopen proc: this kernel has no such file system (modprobe it?)"
    assert error_line(PLAN, Failure(errno.EPIPE, -1)) == "run the plan: EPIPE (Broken pipe)"

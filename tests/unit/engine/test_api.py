import os
from typing import Any

import pytest

import pyrt
from pyrt.base.errors import InvalidRequest
from pyrt.engine.api import request
from pyrt.model.run import Mount, Tmpfs, Ulimit


def test_words_become_values() -> None:
    req = request(
        "host",
        ["a", "b"],
        memory="64m",
        cpus=0.5,
        shm_size="1k",
        memory_swap=-1,
        env={"A": "1"},
        user=33,
        ulimits={"nofile": (1, 2), "core": 0},
        tmpfs={"/t": "size=1m"},
        volumes={"/a": "/b", "/c": {"bind": "/d", "mode": "ro"}},
        mounts=["type=tmpfs,dst=/e", Mount("/f", "/g")],
        sysctls={"kernel.msgmax": 5},
        labels={"x": "y"},
        entrypoint="",
        group_add=[7],
    )
    assert req.args == ("a", "b")
    assert (req.memory, req.nano_cpus, req.shm_size, req.memory_swap) == (64 << 20, 500_000_000, 1024, -1)
    assert req.env == ("A=1",) and req.user == "33" and req.group_add == ("7",)
    assert req.ulimits == (Ulimit("nofile", 1, 2), Ulimit("core", 0, 0))
    assert req.tmpfs == (Tmpfs("/t", ("size=1m",)),)
    assert [(m.source, m.target, m.readonly) for m in req.mounts[:2]] == [("/a", "/b", False), ("/c", "/d", True)]
    assert [m.target for m in req.mounts[2:]] == ["/e", "/f"]
    assert req.sysctls == (("kernel.msgmax", "5"),) and req.entrypoint == ()


def test_one_string_is_one_word() -> None:
    assert request("host", "a b").args == ("a b",)


def test_names_in_a_list_of_environment_take_our_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "PYRT_TEST", "1")
    assert request("host", env=["PYRT_TEST", "PYRT_NONE", "X=2"]).env == ("PYRT_TEST=1", "X=2")


@pytest.mark.parametrize(
    "options",
    [
        {"memory": "x"},
        {"cpus": "x"},
        {"volumes": ["a"]},
        {"mounts": ["a"]},
        {"ulimits": {"nope": 1}},
        {"devices": ["x"]},
        {"tmpfs": ["x"]},
        {"rootfs": "/"},
        {"cap_add": "ALL"},
        {"args": [b"x"]},
    ],
    ids=str,
)
def test_values_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        request("host", **options)


@pytest.mark.parametrize("keywords", [{"input": "text"}, {"input": b"x", "text": True}, {"input": b"", "stdin": 0}])
def test_input_of_the_wrong_kind(keywords: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        pyrt.run("host", ["true"], **keywords)


def test_unknown_options_are_type_errors() -> None:
    with pytest.raises(TypeError, match="colour"):
        pyrt.run("host", ["true"], colour="red")

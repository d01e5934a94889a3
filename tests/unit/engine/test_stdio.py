import os
from pathlib import Path

import pytest

from pyrt.base.errors import InvalidRequest
from pyrt.engine.stdio import DEVNULL, PIPE, STDOUT, connect


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_pipes_for_everything_and_nothing_left() -> None:
    before = open_fds()
    streams = connect(b"data", None, PIPE, PIPE)
    assert streams.feed is not None and streams.feed[1] == b"data"
    assert min(streams.collect) >= 0 and len({*streams.child, *streams.collect}) == 5
    streams.close()
    streams.close()
    assert open_fds() == before


def test_after_the_launch_our_ends_belong_to_it() -> None:
    before = open_fds()
    streams = connect(None, DEVNULL, PIPE, STDOUT)
    assert streams.child[1] == streams.child[2] and streams.collect[1] == -1
    streams.launched()
    os.close(streams.collect[0])  # would fail if it were closed already
    assert open_fds() == before


def test_streams_of_the_caller(tmp_path: Path) -> None:
    with open(tmp_path / "out", "wb") as file:
        streams = connect(None, None, file, 2)
        assert streams.child == (0, file.fileno(), 2)
        streams.close()
        os.fstat(file.fileno())  # still open


@pytest.mark.parametrize(
    ("data", "stdin", "stdout"), [(b"", 0, None), (None, PIPE, None), (None, STDOUT, None), (None, None, -7)]
)
def test_combinations_that_make_no_sense(data: bytes | None, stdin: int | None, stdout: int | None) -> None:
    before = open_fds()
    with pytest.raises(InvalidRequest):
        connect(data, stdin, stdout, None)
    assert open_fds() == before

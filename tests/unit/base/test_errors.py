import errno
import pickle

import pytest

from pyrt.base import errors
from pyrt.model.run import Completed

CODES = {
    "PyrtError": 125,
    "InvalidRequest": 125,
    "InvalidSpec": 125,
    "NotFound": 125,
    "Conflict": 125,
    "Unsupported": 125,
    "OpFailed": 125,
    "CommandNotFound": 127,
    "CommandNotExecutable": 126,
    "ContainerTimeout": 125,
}


def _made(name: str) -> errors.PyrtError:
    kind = getattr(errors, name)
    if issubclass(kind, errors.OpFailed):
        return kind(17, "mount overlay on /", errno.EINVAL, "fsopen", "is it a directory?")
    return kind("no\nsuch\nthing")


@pytest.mark.parametrize("name", CODES)
def test_each_error_is_one_line_and_has_its_exit_code(name: str) -> None:
    error = _made(name)
    assert "\n" not in str(error)
    assert error.exit_code == CODES[name]
    assert isinstance(error, errors.PyrtError)


def test_the_table_of_exit_codes_is_complete() -> None:
    tree = {name for name in errors.__all__ if isinstance(getattr(errors, name), type)}
    assert tree == {*CODES, "ContainerFailed"}
    drawn = errors.__doc__ or ""
    assert all(name in drawn for name in tree)


@pytest.mark.parametrize("name", CODES)
def test_errors_cross_process_borders(name: str) -> None:
    error = _made(name)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and str(again) == str(error)


def test_an_op_that_failed_reads_as_explain_says_it() -> None:
    error = errors.OpFailed(17, "mount overlay on /", errno.EINVAL, hint="is the lower directory an overlay itself?")
    assert str(error) == (
        "op 17 mount overlay on /: EINVAL (Invalid argument): is the lower directory an overlay itself?"
    )


def test_an_invalid_spec_names_the_json_path() -> None:
    assert str(errors.InvalidSpec("is not a number", "process.user.uid")) == "process.user.uid: is not a number"


def test_a_failed_container_is_like_a_called_process_error() -> None:
    error = errors.ContainerFailed(Completed(("sh", "-c", "exit 3"), 3, b"out", b"err"))
    assert (error.returncode, error.stdout, error.output, error.stderr) == (3, b"out", b"out", b"err")
    assert error.cmd == ("sh", "-c", "exit 3")
    assert error.exit_code == 3
    assert "returned 3" in str(error)
    killed = errors.ContainerFailed(Completed(("x",), 137, signal=9, oom_killed=True))
    assert "died of signal 9 (out of memory)" in str(killed)


def test_builtin_exceptions_catch_ours() -> None:
    assert issubclass(errors.InvalidRequest, ValueError)
    assert issubclass(errors.NotFound, LookupError)
    assert issubclass(errors.ContainerTimeout, TimeoutError)

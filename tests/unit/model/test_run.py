import pytest

from pyrt.base.errors import ContainerFailed
from pyrt.model.run import Completed, RunRequest, TraceOp


def test_equal_requests_are_one_key() -> None:
    assert len({RunRequest("host", ("a",)), RunRequest("host", ("a",)), RunRequest("host", ("b",))}) == 2


def test_check_returncode() -> None:
    Completed(("true",), 0).check_returncode()
    with pytest.raises(ContainerFailed) as caught:
        Completed(("false",), 1).check_returncode()
    assert caught.value.returncode == 1


def test_a_trace_entry_knows_how_long_it_took() -> None:
    assert TraceOp(0, "host", "", "", 5, 12).duration_ns == 7

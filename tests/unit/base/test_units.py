import signal

import pytest

from pyrt.base import units
from pyrt.base.errors import InvalidRequest


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64m", 64 << 20),
        ("1.5g", 3 << 29),
        ("1k", 1024),
        ("10", 10),
        ("10b", 10),
        ("2GB", 2 << 30),
        ("2GiB", 2 << 30),
        ("1 mb", 1 << 20),
        ("1T", 1 << 40),
        (".5k", 512),
        (4096, 4096),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert units.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "m", "-1", "1x", "1mm", "64 m b", "1e3", "9999999p", "bb", "1bb", "0x10", -1, 1 << 63])
def test_sizes_that_make_no_sense(text: str) -> None:
    with pytest.raises(InvalidRequest, match="invalid size"):
        units.parse_size(text)


def test_sizes_for_people() -> None:
    assert units.format_size(64 << 20) == "64MiB"
    assert units.format_size(1000) == "1000B"
    assert units.format_size(3 << 29) == "1.5GiB"


def test_cpus() -> None:
    assert units.parse_cpus("0.5") == 500_000_000
    assert units.parse_cpus(2) == 2_000_000_000
    for bad in ("x", "-1", "nan", "inf", "0.0000000001", ""):
        with pytest.raises(InvalidRequest):
            units.parse_cpus(bad)


@pytest.mark.parametrize(
    ("text", "seconds"), [("1m30s", 90), ("500ms", 0.5), ("2", 2), (1.5, 1.5), ("1h", 3600), ("1.5h", 5400), ("0", 0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert units.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "1x", "1s x", "-1", "nan", "1s1"])
def test_durations_that_make_no_sense(text: str) -> None:
    with pytest.raises(InvalidRequest, match="invalid duration"):
        units.parse_duration(text)


def test_ulimits() -> None:
    assert units.parse_ulimit("nofile=1024:2048") == ("nofile", 1024, 2048)
    assert units.parse_ulimit("nproc=5") == ("nproc", 5, 5)
    assert units.parse_ulimit("core=-1") == ("core", units.RLIM_INFINITY, units.RLIM_INFINITY)
    assert units.parse_ulimit("core=0:unlimited") == ("core", 0, units.RLIM_INFINITY)
    for bad in ("nofile", "nofile=", "nope=1", "nofile=2:1", "nofile=a", "nofile=1:", "nofile=-1:5", "=1"):
        with pytest.raises(InvalidRequest, match="ulimit"):
            units.parse_ulimit(bad)


def test_signals() -> None:
    assert units.parse_signal("TERM") == units.parse_signal("sigterm") == units.parse_signal("15") == 15
    assert units.parse_signal("RTMIN+3") == signal.SIGRTMIN + 3
    for bad in ("", "0", "65", "NOPE", "SIG", "TERM+1", "RTMIN+99", "SIG_DFL"):
        with pytest.raises(InvalidRequest, match="invalid signal"):
            units.parse_signal(bad)


def test_lists() -> None:
    assert units.parse_list("0-2,5") == (0, 1, 2, 5)
    for bad in ("", "a", "2-1", "0-", "1,,2", "99999999"):
        with pytest.raises(InvalidRequest):
            units.parse_list(bad)

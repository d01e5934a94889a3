import click
import pytest

from pyrt.cli.options import OPTIONAL_VALUES
from pyrt.cli.run import run
from pyrt.cli.syntax import normalize, usage_line


def fit(*args: str) -> list[str]:
    return normalize(args, run.params, OPTIONAL_VALUES)


def test_spellings_of_go() -> None:
    assert fit("-it", "--rm", "host") == ["-i", "-t", "--rm", "host"]
    assert fit("-m64m", "host") == fit("-m=64m", "host") == fit("-m", "64m", "host") == ["--memory=64m", "host"]
    assert fit("-itm", "64m", "host") == ["-i", "-t", "--memory=64m", "host"]
    assert fit("--rm=true", "--init=false", "-i=false", "-t=1", "host") == ["--rm", "-t", "host"]
    assert fit("--memory", "64m", "host") == ["--memory=64m", "host"]


def test_flags_end_at_the_first_argument() -> None:
    assert fit("host", "--rm=false", "-m", "--trace") == ["host", "--rm=false", "-m", "--trace"]
    assert fit("-e", "--trace", "host") == ["--env=--trace", "host"]
    assert fit("--", "--trace") == ["--", "--trace"]
    assert fit("-i", "-", "-x") == ["-i", "-", "-x"]


def test_flags_that_may_stand_alone() -> None:
    assert fit("--trace", "host") == ["--trace=-", "host"]
    assert fit("--trace=x.json", "host") == ["--trace=x.json", "host"]
    assert fit("--rootfs", "/dir", "sh") == ["--rootfs=/dir", "sh"]
    assert fit("--rootfs", "--rm", "/dir", "sh") == ["--rootfs=", "--rm", "/dir", "sh"]


def test_what_is_wrong_is_one_line() -> None:
    for args in (["-x"], ["-ix"], ["-m"], ["--rm=maybe"]):
        with pytest.raises(click.UsageError) as caught:
            fit(*args)
        assert "\n" not in usage_line(caught.value)

import re

import pytest

from pyrt.base import ids
from pyrt.base.errors import InvalidRequest


def test_ids_are_64_hex_digits_and_differ() -> None:
    made = {ids.new_id() for _ in range(200)}
    assert len(made) == 200
    assert all(re.fullmatch(r"[0-9a-f]{64}", one) for one in made)
    assert not any(ids.short_id(one).isdigit() for one in made)


@pytest.mark.parametrize("name", ["web", "a1", "a_b-c.d", "A" * 200])
def test_names_that_docker_takes(name: str) -> None:
    assert ids.check_name(name) == name


@pytest.mark.parametrize("name", ["", "a", "-a", "_a", "a b", "a/b", "ä1", "web\n"])
def test_names_that_docker_refuses(name: str) -> None:
    with pytest.raises(InvalidRequest, match="Invalid container name"):
        ids.check_name(name)

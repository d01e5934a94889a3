"""Container ids and names."""

from __future__ import annotations

import os
import re

from pyrt.base.errors import InvalidRequest

__all__ = ["ID_LENGTH", "SHORT_ID_LENGTH", "check_name", "new_id", "short_id"]

ID_LENGTH = 64
SHORT_ID_LENGTH = 12

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+\Z")


def new_id() -> str:
    """64 random hexadecimal digits.

    Never one whose first 12 digits are all decimal: such a hostname would read as a number.
    """
    while True:
        fresh = os.urandom(ID_LENGTH // 2).hex()
        if not fresh[:SHORT_ID_LENGTH].isdigit():
            return fresh


def short_id(container_id: str) -> str:
    """The first 12 characters, as people see it."""
    return container_id[:SHORT_ID_LENGTH]


def check_name(name: str) -> str:
    """Gives a container name back, or raises InvalidRequest with Docker's wording."""
    if not _NAME.match(name):
        raise InvalidRequest(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, two characters at least")
    return name

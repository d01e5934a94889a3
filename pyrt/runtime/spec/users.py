"""Who the process runs as: `-u NAME|UID[:GROUP|GID]`, resolved in the image's own /etc/passwd and /etc/group.

The rules are those of docker run: a numeric id need not be in the files; a group that is given replaces the user's own
groups; an unknown uid has group 0 and the home /.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from pyrt.base.errors import InvalidRequest, NotFound

__all__ = ["Identity", "resolve_user"]

_MAX_ID = (1 << 31) - 1  # as docker; 2**32-1 means "no id" to the kernel


class Identity(Struct, frozen=True):
    """Numeric ids in the container, the home directory, and the user's name ("" if the image knows none)."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    name: str


def _entries(raw: bytes | None, fields: int) -> list[list[str]]:
    if not raw:
        return []
    lines = raw.decode("utf-8", "surrogateescape").splitlines()
    split = (line.strip().split(":") for line in lines if line.strip() and not line.startswith("#"))
    return [entry for entry in split if len(entry) >= fields]


def _number(word: str) -> int | None:
    return int(word) if word.isascii() and word.isdigit() else None


def _checked(word: str, number: int) -> int:
    if number > _MAX_ID:
        raise InvalidRequest(f"uids and gids must be in range 0-{_MAX_ID}: '{word}'")
    return number


def resolve_user(text: str, passwd: bytes | None, group: bytes | None, extra_groups: Sequence[str] = ()) -> Identity:
    """``text`` ("" is root) against the two files' content (None: no such file).

    Raises NotFound for a name that the files do not have, InvalidRequest for an id out of range.
    """
    user_text, colon, group_text = text.partition(":")
    if colon and not group_text and not user_text:
        raise InvalidRequest(f"invalid user '{text}'")
    users = _entries(passwd, 4)
    groups = _entries(group, 3)
    uid, gid, home, name = _user(user_text or "0", users)
    own = () if group_text else _memberships(name, groups)
    if group_text:
        gid = _group(group_text, groups)
    extra = tuple(_group(item, groups) for item in extra_groups)
    supplementary = tuple(dict.fromkeys((gid, *own, *extra)))
    return Identity(uid, gid, supplementary, home or "/", name)


def _user(word: str, users: list[list[str]]) -> tuple[int, int, str, str]:
    number = _number(word)
    for entry in users:
        uid, gid = _number(entry[2]), _number(entry[3])
        if uid is None or gid is None:
            continue
        # A name wins over a number, as in getpwnam(3); a name of digits is one, too.
        if entry[0] == word or (number is not None and uid == number):
            return _checked(word, uid), _checked(word, gid), entry[5] if len(entry) > 5 else "", entry[0]
    if number is None:
        raise NotFound(f"unable to find user {word}: no matching entries in passwd file")
    return _checked(word, number), 0, "/root" if number == 0 and not users else "", ""


def _group(word: str, groups: list[list[str]]) -> int:
    number = _number(word)
    for entry in groups:
        gid = _number(entry[2])
        if gid is not None and (entry[0] == word or gid == number):
            return _checked(word, gid)
    if number is None:
        raise NotFound(f"unable to find group {word}: no matching entries in group file")
    return _checked(word, number)


def _memberships(name: str, groups: list[list[str]]) -> tuple[int, ...]:
    if not name:
        return ()
    found = (_number(entry[2]) for entry in groups if len(entry) > 3 and name in entry[3].split(","))
    return tuple(gid for gid in found if gid is not None)

import pytest

from pyrt.base.errors import InvalidRequest, NotFound
from pyrt.runtime.spec.users import resolve_user

PASSWD = b"""root:x:0:0:root:/root:/bin/sh
# a comment
broken
web:x:33:34:web,,,:/var/www:/bin/false
nohome:x:44:45
1000:x:55:56::/home/digits:
bad:x:x:y::/:
"""
GROUP = b"""root:x:0:
www:x:34:
admins:x:99:root,web
shared:x:100:web
"""


@pytest.mark.parametrize(
    ("text", "uid", "gid", "groups", "home"),
    [
        ("", 0, 0, (0, 99), "/root"),
        ("root", 0, 0, (0, 99), "/root"),
        ("web", 33, 34, (34, 99, 100), "/var/www"),
        ("33", 33, 34, (34, 99, 100), "/var/www"),
        ("web:admins", 33, 99, (99,), "/var/www"),
        ("web:7", 33, 7, (7,), "/var/www"),
        ("4711", 4711, 0, (0,), "/"),
        ("4711:4712", 4711, 4712, (4712,), "/"),
        ("1000", 55, 56, (56,), "/home/digits"),
        ("nohome", 44, 45, (45,), "/"),
    ],
)
def test_users(text: str, uid: int, gid: int, groups: tuple[int, ...], home: str) -> None:
    found = resolve_user(text, PASSWD, GROUP)
    assert (found.uid, found.gid, found.groups, found.home) == (uid, gid, groups, home)


def test_further_groups() -> None:
    assert resolve_user("web", PASSWD, GROUP, ("admins", "7")).groups == (34, 99, 100, 7)


@pytest.mark.parametrize("text", ["nobody", "bad", "web:nogroup", "-1", "1.5"])
def test_unknown_names(text: str) -> None:
    with pytest.raises(NotFound, match="unable to find"):
        resolve_user(text, PASSWD, GROUP)


def test_ids_out_of_range_and_no_files() -> None:
    with pytest.raises(InvalidRequest, match="must be in range"):
        resolve_user("4294967295", PASSWD, GROUP)
    with pytest.raises(InvalidRequest):
        resolve_user(":", PASSWD, GROUP)
    assert resolve_user("", None, None).home == "/root"
    with pytest.raises(NotFound):
        resolve_user("root", None, None)

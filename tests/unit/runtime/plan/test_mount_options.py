from __future__ import annotations

import pytest

from pyrt.runtime.plan import constants as k
from pyrt.runtime.plan.mount_options import KNOWN, MountOptions, attributes, parse


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), MountOptions()),
        (("ro", "nosuid", "size=5"), MountOptions(flags=k.MS_RDONLY | k.MS_NOSUID, data=("size=5",))),
        (("ro", "rw"), MountOptions(cleared=k.MS_RDONLY)),
        (("rw", "ro"), MountOptions(flags=k.MS_RDONLY)),
        (("rbind", "rslave"), MountOptions(flags=k.MS_BIND | k.MS_REC, spread=k.MS_SLAVE | k.MS_REC)),
        (("defaults",), MountOptions()),
        (("rro", "rnosuid"), MountOptions(rec_set=k.MOUNT_ATTR_RDONLY | k.MOUNT_ATTR_NOSUID)),
        (("rro", "rrw"), MountOptions(rec_clear=k.MOUNT_ATTR_RDONLY)),
        (("rnoatime",), MountOptions(rec_set=k.MOUNT_ATTR_NOATIME, rec_clear=k.MOUNT_ATTR_ATIME)),
        (("bind", "ridmap"), MountOptions(flags=k.MS_BIND, idmap="ridmap")),
        (("tmpcopyup",), MountOptions(data=("tmpcopyup",))),
        (("noexec", "exec"), MountOptions(cleared=k.MS_NOEXEC)),
        (("nosymfollow", "unbindable"), MountOptions(flags=k.MS_NOSYMFOLLOW, spread=k.MS_UNBINDABLE)),
    ],
)
def test_options(words: tuple[str, ...], expected: MountOptions) -> None:
    assert parse(words) == expected


def test_no_known_option_reaches_the_file_system() -> None:
    for word in KNOWN:
        assert parse((word,)).data == (() if word != "tmpcopyup" else ("tmpcopyup",)), word


def test_flags_as_attributes() -> None:
    assert attributes(k.MS_RDONLY | k.MS_NOEXEC) == (k.MOUNT_ATTR_RDONLY | k.MOUNT_ATTR_NOEXEC, 0)
    assert attributes(k.MS_NOATIME) == (k.MOUNT_ATTR_NOATIME, k.MOUNT_ATTR_ATIME)
    assert attributes(k.MS_RELATIME) == (0, k.MOUNT_ATTR_ATIME)
    assert attributes(0) == (0, 0)

from __future__ import annotations

import errno

from pyrt import native as n
from pyrt.runtime.plan import hints, ops
from pyrt.runtime.plan.hints import hint


def test_a_hint_depends_on_op_and_errno() -> None:
    missing = hint(ops.bind("/nowhere", "/x"), errno.ENOENT)
    assert missing == "the source does not exist on the host"
    assert hint(ops.bind("/nowhere", "/x"), errno.ENOTDIR) != missing
    assert "interpreter" in hint(ops.execve(["x"], []), errno.ENOEXEC) or hint(ops.execve(["x"], []), errno.ENOEXEC)


def test_an_overlay_has_its_own() -> None:
    assert "layer" in hint(ops.mount("overlay", "/", "overlay"), errno.EINVAL)
    assert "options" in hint(ops.mount("x", "/", "tmpfs"), errno.EINVAL)


def test_some_errors_mean_the_same_everywhere() -> None:
    assert "ulimit -n" in hint(ops.setsid(), errno.EMFILE)


def test_no_hint_is_better_than_a_wrong_one() -> None:
    assert hint(ops.setsid(), errno.EXDEV) == ""


def test_the_table_names_real_ops_and_errors_and_ends_without_a_full_stop() -> None:
    for (code, number), text in hints._HINTS.items():
        assert not n.op_name(code).startswith("op ")
        assert number is None or number in errno.errorcode
        assert text and not text.endswith(".") and "\n" not in text

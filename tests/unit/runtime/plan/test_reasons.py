from __future__ import annotations

from pyrt.runtime.plan.reasons import Reasons


def test_the_flag_of_a_place_or_of_what_holds_it() -> None:
    why = Reasons({"linux.resources.memory": "-m 64m", "mounts[2]": "-v /a:/b", "linux.maskedPaths": "default"})
    assert why("linux.resources.memory.limit") == "-m 64m"
    assert why("mounts[2]") == "-v /a:/b"
    assert why("linux.maskedPaths[3]") == "default"
    assert why("mounts[21]") == "mounts[21]"
    assert why("process.args") == "process.args"


def test_without_a_record_the_place_is_the_reason() -> None:
    assert Reasons()("linux.seccomp") == "linux.seccomp"


def test_what_a_person_asked_for() -> None:
    assert Reasons().asked("anything")
    why = Reasons({"linux.resources.memory": "-m 64m"})
    assert why.asked("linux.resources.memory")
    assert not why.asked("linux.resources.memory.swap")

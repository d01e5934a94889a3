import os

from pyrt.engine.here import surroundings


def test_what_is_known_about_this_process() -> None:
    here = surroundings()
    assert here.uid == os.geteuid()
    assert here.root == (here.uid == 0)
    assert here.cpus >= 1
    assert here.nodename == os.uname().nodename
    assert any(inside == 0 for inside, _, _ in here.uid_map)
    assert all(name.startswith("CAP_") for name in here.capabilities)
    assert surroundings() is here

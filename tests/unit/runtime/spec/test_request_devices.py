from pyrt.model.run import Device, RunRequest
from pyrt.runtime.spec import defaults
from pyrt.runtime.spec.request_devices import devices


def test_nothing_asked_for() -> None:
    assert devices(RunRequest("host"), userns=False, origins={}) == ((), defaults.DEVICE_RULES)


def test_a_folder_stands_for_its_nodes() -> None:
    nodes, rules = devices(RunRequest("host", devices=(Device("/dev", "/dev", "r"),)), userns=False, origins={})
    paths = [node.path for node in nodes]
    assert len(rules) == len(defaults.DEVICE_RULES) + len(nodes)
    assert not {"/dev/null", "/dev/console", "/dev/ptmx"}.intersection(paths)
    assert not any(path.startswith(("/dev/pts/", "/dev/shm/")) for path in paths)


def test_privileged_takes_the_hosts_nodes() -> None:
    origins: dict[str, str] = {}
    nodes, rules = devices(RunRequest("host", privileged=True), userns=False, origins=origins)
    assert rules == defaults.ALL_DEVICES
    assert origins["linux.devices"] == "--privileged"
    assert all(node.type in "cb" for node in nodes)

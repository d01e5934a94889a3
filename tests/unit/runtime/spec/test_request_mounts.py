from pyrt.model.image import ImageConfig
from pyrt.model.run import Mount, RunRequest
from pyrt.runtime.spec.from_request import Surroundings
from pyrt.runtime.spec.request_mounts import mounts

HERE = Surroundings(root=True, uid=0, gid=0, capabilities=frozenset())


def test_a_mount_over_dev_takes_what_is_below_along() -> None:
    req = RunRequest("host", mounts=(Mount("/dev", "/dev", recursive=True),))
    places = [mount.destination for mount in mounts(req, ImageConfig(), HERE, userns=False, origins={})]
    assert places == ["/proc", "/sys", "/sys/fs/cgroup", "/dev"]


def test_read_only_recursively() -> None:
    req = RunRequest("host", mounts=(Mount("/x", "/", readonly=True, readonly_recursive=True, options=("nosuid",)),))
    made = mounts(req, ImageConfig(), HERE, userns=False, origins={})[-1]
    assert made.options == ("rbind", "rprivate", "rro", "nosuid")

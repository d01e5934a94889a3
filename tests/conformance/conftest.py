"""The runtime under test, and the peers: each is started once, when the first test asks for it, and goes away with everything it made.

PYRT_CONFORMANCE_RUNTIME=/usr/sbin/runc runs the same tests with another runtime: they must pass there too, or they ask too much.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance import image
from tests.conformance.containerd import Containerd
from tests.conformance.docker import Docker
from tests.conformance.peer import Absent, Peer
from tests.conformance.podman import Podman

PEERS: dict[str, type[Peer]] = {peer.name: peer for peer in (Containerd, Docker, Podman)}
TOP = Path(__file__).parents[2]
# For a checkout without its console scripts: what they do.
WRAPPER = """#!{python}
import sys
sys.path[0] = {top!r}
from pyrt.cli.oci import main
sys.exit(main())
"""
names = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.root)
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> str:
    if named := os.environ.get("PYRT_CONFORMANCE_RUNTIME"):
        return named
    script = Path(sys.executable).parent / "pyrt-oci"
    if not script.exists():
        script = tmp_path_factory.mktemp("bin") / "pyrt-oci"
        script.write_text(WRAPPER.format(python=sys.executable, top=str(TOP)))
        script.chmod(0o755)
    return str(script)


@pytest.fixture(scope="session")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    binary = image.busybox()
    if binary is None:
        pytest.skip("needs a static busybox (busybox-static)")
    path = tmp_path_factory.mktemp("image") / "layer.tar"
    image.make_layer(path, binary)
    return path


@pytest.fixture(scope="session")
def archive(layer: Path) -> Path:
    path = layer.with_name("image.tar")
    image.make_archive(path, layer)
    return path


@pytest.fixture(scope="session", params=list(PEERS))
def peer(request: pytest.FixtureRequest, runtime: str, layer: Path, archive: Path) -> Iterator[Peer]:
    made = PEERS[request.param](runtime)
    try:
        try:
            made.start(layer, archive)
        except Absent as why:
            pytest.skip(f"{made.name}: {why}")
        yield made
    finally:
        made.stop()


@pytest.fixture
def name(peer: Peer) -> Iterator[str]:
    """A fresh name for a container, which is removed afterwards."""
    fresh = f"c{next(names)}"
    yield fresh
    peer.remove(fresh)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Iterator[None]:
    """What a peer has no words for is a skip."""
    from tests.conformance.peer import Unsayable

    try:
        return (yield)
    except Unsayable as why:
        pytest.skip(str(why))

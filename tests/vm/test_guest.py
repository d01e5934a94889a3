"""The cgroup v2 and AppArmor lane: a stock Debian kernel under QEMU runs the slice in guest/, one test here for each check there.

    python -m pytest tests/vm                  all of it: the guest is built once, in a minute; then two or three for each run
    python -m pytest tests/vm -k check_pids    one check

PYRT_VM_CACHE names the folder where the guest is kept (else pyrt-vm in $XDG_CACHE_HOME or /var/cache).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm import boot, image

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def guest(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[boot.Report]:
    """The report of one boot that ran the checks that this session selected."""
    scratch: Path = tmp_path_factory.mktemp("vm")
    selected = [item.callspec.params["check"] for item in request.session.items if item.path == request.path]  # type: ignore[attr-defined]
    try:
        base = image.base()
        tree = scratch / "work"
        tree.mkdir()
        (tree / "only").write_text(" ".join(selected) + "\n")
        image.build_work(tree, scratch / "work.img")
    except image.Unavailable as reason:
        pytest.skip(f"no guest: {reason}")
    yield boot.boot(base, scratch / "work.img", scratch)
    (scratch / "work.img").unlink()


@pytest.mark.parametrize("check", boot.checks(Path(__file__).parent / "guest"))
def test_guest(guest: boot.Report, check: str) -> None:
    result = guest.results.get(check)
    if result is None:
        pytest.fail(f"{guest.problem or 'no result for this check'}\n--- end of the guest's console:\n{guest.console}", pytrace=False)
    if result.outcome == "skipped":
        pytest.skip(result.detail)
    if result.outcome != "passed":
        pytest.fail(f"in the guest, after {result.seconds} s:\n{result.detail}", pytrace=False)

"""Boots the guest under QEMU, without KVM, and collects the results of its slice."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.vm.image import Base

BOOT_SECONDS = 120  # until the guest's init says that it runs; usually 5
TOTAL_SECONDS = 600  # until it has powered off
CONSOLE_TAIL = 4000  # characters of the console that a failure shows


@dataclass(frozen=True)
class Result:
    """One check as the guest reported it; outcome is "passed", "failed" or "skipped"."""

    name: str
    outcome: str
    seconds: float
    detail: str


@dataclass(frozen=True)
class Report:
    """What came out of one boot. `problem` is empty when the guest ran to its end."""

    results: dict[str, Result] = field(default_factory=dict)
    problem: str = ""
    console: str = ""


def qemu(base: Base, work: Path, console: Path, results: Path) -> list[str]:
    """The command line. Two serial lines: the console, and the results. -snapshot keeps the images as they are."""
    command = ["qemu-system-x86_64", "-M", "pc", "-accel", "tcg,thread=multi", "-smp", "2", "-cpu", "Nehalem", "-m", "1024"]
    command += ["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-snapshot"]
    command += ["-serial", f"file:{console}", "-serial", f"file:{results}"]
    command += ["-kernel", str(base.kernel), "-initrd", str(base.initramfs)]
    command += ["-append", "console=ttyS0 quiet panic=-1 reboot=t security=apparmor"]
    for number, image in enumerate((base.root, work)):
        command += ["-drive", f"file={image},if=none,id=d{number},format=raw,cache=unsafe,aio=threads"]
        command += ["-device", f"virtio-blk-pci,drive=d{number}"]
    return command


def parse(text: str) -> tuple[dict[str, Result], bool, bool]:
    """(results, whether the guest came up, whether the slice ran to its end) from what the results line carried so far."""
    results: dict[str, Result] = {}
    up = ended = False
    for line in text.splitlines():
        try:
            fields = json.loads(line)
        except ValueError:  # the last line, still on its way
            continue
        up = up or "up" in fields
        ended = ended or "end" in fields
        if "name" in fields:
            results[fields["name"]] = Result(fields["name"], fields["outcome"], fields["seconds"], fields["detail"])
    return results, up, ended


def wait(guest: subprocess.Popen[bytes], results: Path) -> str:
    """Waits until the guest has powered off. Returns what went wrong, or ""."""
    begin = time.monotonic()
    while guest.poll() is None:
        spent = time.monotonic() - begin
        _, up, _ = parse(results.read_text(errors="replace") if results.exists() else "")
        if not up and spent > BOOT_SECONDS:
            return f"the guest did not boot in {BOOT_SECONDS} s"
        if spent > TOTAL_SECONDS:
            return f"the guest was not done after {TOTAL_SECONDS} s"
        time.sleep(0.25)
    return f"QEMU ended with {guest.returncode}" if guest.returncode else ""


def boot(base: Base, work: Path, scratch: Path) -> Report:
    """One boot from beginning to end. The guest never outlives this call."""
    console, results = scratch / "console", scratch / "results"
    with open(scratch / "qemu.err", "w+b") as errors:
        guest = subprocess.Popen(qemu(base, work, console, results), stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
        try:
            problem = wait(guest, results)
        finally:
            guest.kill()
            guest.wait()
        errors.seek(0)
        complaint = errors.read().decode(errors="replace")
    found, _, ended = parse(results.read_text(errors="replace") if results.exists() else "")
    if not problem and not ended:
        problem = "the guest powered off before its slice was done"
    shown = console.read_text(errors="replace") if console.exists() else ""
    return Report(found, f"{problem} {complaint}".strip() if problem else "", shown[-CONSOLE_TAIL:])


def checks(folder: Path) -> Sequence[str]:
    """Names of all checks of the slice, as the guest's runner names them, without importing any."""
    return [
        f"{path.stem}.{line[4:].split('(')[0]}"
        for path in sorted(folder.glob("slice_*.py"))
        for line in path.read_text().splitlines()
        if line.startswith("def check_")
    ]

"""Builds what the guest boots from: a stock Debian kernel, an initramfs, a root image and a small image with this checkout.

The first three change rarely and are kept in a cache outside the checkout, under a name made of everything that shapes them. The
fourth is made anew for each run, in about a second.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
KERNEL_PACKAGE = "linux-image-cloud-amd64"
# In the order in which the initramfs inserts them.
MODULES = ("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "virtio_blk", "overlay")
ROOT_PACKAGES = ("python3", "apparmor", "procps", "libseccomp2", "busybox-static")
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/man/*", "/usr/share/info/*")
TOOLS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "apt-get": "apt",
    "dpkg": "dpkg",
    "cc": "gcc",
}
LAYOUT = 1  # one more whenever the way the cached files are made changes


class Unavailable(Exception):
    """The guest cannot be built on this machine; the text is the reason that a skipped test gives."""


@dataclass(frozen=True)
class Base:
    """The cached part of a guest."""

    kernel: Path
    initramfs: Path
    root: Path


def cache_dir() -> Path:
    """$PYRT_VM_CACHE, else $XDG_CACHE_HOME/pyrt-vm, else /var/cache/pyrt-vm."""
    if chosen := os.environ.get("PYRT_VM_CACHE"):
        return Path(chosen)
    if xdg := os.environ.get("XDG_CACHE_HOME"):
        return Path(xdg) / "pyrt-vm"
    return Path("/var/cache/pyrt-vm")


def run(*command: str | Path, cwd: Path | None = None, timeout: float = 300) -> str:
    """Runs a tool to its end and returns what it printed. Raises Unavailable with the last lines of its complaint."""
    try:
        done = subprocess.run(
            [os.fspath(word) for word in command], cwd=cwd, timeout=timeout, text=True, capture_output=True, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        raise Unavailable(f"{command[0]} ended with {done.returncode}: {' '.join(done.stderr.split()[-40:])}")
    return done.stdout


def check_machine() -> None:
    """Raises Unavailable when something is missing that no build can make good."""
    if os.geteuid() != 0:
        raise Unavailable("building the guest's root image needs root")
    if os.uname().machine != "x86_64":
        raise Unavailable(f"the guest is x86_64, this machine is {os.uname().machine}")
    if missing := sorted({package for tool, package in TOOLS.items() if not shutil.which(tool)}):
        raise Unavailable(f"Debian packages not installed: {' '.join(missing)}")
    if not Path("/bin/busybox").exists():
        raise Unavailable("Debian package not installed: busybox-static")


def archives() -> list[tuple[str, str]]:
    """(site, suite) of each Debian archive with a `main` that this machine's apt knows, in apt's order."""
    listed = run("apt-get", "indextargets", "--format", "$(CREATED_BY)|$(ORIGIN)|$(SITE)|$(RELEASE)|$(COMPONENT)")
    found: list[tuple[str, str]] = []
    for line in listed.splitlines():
        kind, origin, site, suite, component = line.split("|")
        if kind == "Packages" and origin == "Debian" and component == "main" and (site, suite) not in found:
            found.append((site, suite))
    return found


def kernel_package() -> tuple[str, str]:
    """(name, version) of the package that the kernel's meta package stands for today."""
    depends = run("apt-cache", "depends", KERNEL_PACKAGE)
    if not (match := re.search(r"Depends: (linux-image-\S+)", depends)):
        raise Unavailable(f"apt knows no {KERNEL_PACKAGE}")
    policy = run("apt-cache", "policy", match[1])
    candidate = re.search(r"Candidate: (\S+)", policy)
    return match[1], candidate[1] if candidate else ""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Two runs at once build the base once."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def base() -> Base:
    """The kernel, the initramfs and the root image: from the cache, or built (about a minute). Raises Unavailable."""
    check_machine()
    with locked(cache_dir()):
        known = archives()
        if not known:
            run("apt-get", "update")
            known = archives()
        if not known:
            raise Unavailable("apt has no Debian archive; the guest's root and kernel come from one")
        kernel, version = kernel_package()
        suite = min((suite for _, suite in known), key=len)
        shape = (LAYOUT, kernel, version, suite, MODULES, ROOT_PACKAGES, LEFT_OUT, (HERE / "initramfs.sh").read_text())
        folder = cache_dir() / hashlib.sha256(repr(shape).encode()).hexdigest()[:16]
        if not folder.exists():
            build_base(folder, kernel, suite, known)
            remove_old(folder)
    return Base(folder / "vmlinuz", folder / "initramfs", folder / "root.img")


def build_base(folder: Path, kernel: str, suite: str, sources: Sequence[tuple[str, str]]) -> None:
    """Builds beside `folder`, and renames when all is there: a build cut short leaves no half of a base."""
    with tempfile.TemporaryDirectory(prefix="build-", dir=folder.parent) as scratch:
        new = Path(scratch) / "new"
        new.mkdir()
        modules = unpack_kernel(Path(scratch), kernel, new / "vmlinuz")
        build_initramfs(Path(scratch) / "initramfs", modules, new / "initramfs")
        build_root(Path(scratch) / "root", suite, sources, new / "root.img")
        new.rename(folder)


def remove_old(keep: Path) -> None:
    """Removes bases that no input describes any more."""
    for entry in keep.parent.iterdir():
        if entry.is_dir() and entry != keep:
            shutil.rmtree(entry, ignore_errors=True)


def unpack_kernel(scratch: Path, package: str, image: Path) -> Path:
    """Copies the kernel out of its package to `image`; returns the folder of its modules."""
    run("apt-get", "download", "-o", "APT::Sandbox::User=root", package, cwd=scratch)
    unpacked = scratch / "kernel"
    run("dpkg", "-x", next(scratch.glob(f"{package}_*.deb")), unpacked)
    shutil.copy(next((unpacked / "boot").glob("vmlinuz-*")), image)
    return unpacked / "lib" / "modules"


def build_initramfs(tree: Path, modules: Path, image: Path) -> None:
    """busybox, the modules that it takes to see the disks, and initramfs.sh as /init."""
    for name in ("bin", "lib", "proc", "sys", "dev", "root"):
        (tree / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", tree / "bin" / "busybox")
    for module in MODULES:
        if found := next(modules.rglob(f"{module}.ko"), None):
            shutil.copy(found, tree / "lib" / found.name)
    listed = " ".join(f"/lib/{module}.ko" for module in MODULES)
    (tree / "init").write_text((HERE / "initramfs.sh").read_text().replace("@MODULES@", listed))
    (tree / "init").chmod(0o755)
    names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    with open(image, "wb") as out:
        subprocess.run(
            ["/bin/busybox", "cpio", "-o", "-H", "newc"], cwd=tree, input=names.encode(), stdout=out, stderr=subprocess.PIPE, check=True
        )


def build_root(tree: Path, suite: str, archives: Sequence[tuple[str, str]], image: Path) -> None:
    """A minimal Debian of this machine's own suite and archives, so that what is built here loads there."""
    sources = [f"deb {site} {name} main" for site, name in archives]
    options = [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    for line in run("apt-config", "dump").splitlines():
        if re.match(r"Acquire::https?::Proxy ", line):
            options.append(f"--aptopt={line}")
    options.append('--aptopt=Acquire::Check-Valid-Until "false"')
    run("mmdebstrap", "--variant=minbase", f"--include={','.join(ROOT_PACKAGES)}", *options, suite, tree, *sources, timeout=600)
    (tree / "work").mkdir()
    make_ext4(tree, image, megabytes=used_megabytes(tree) * 5 // 4 + 64)
    shutil.rmtree(tree)


def used_megabytes(tree: Path) -> int:
    """Disk space of a tree, in MiB."""
    return int(run("du", "-sm", tree).split()[0])


def make_ext4(tree: Path, image: Path, megabytes: int) -> None:
    """An ext4 image with the tree in it. No journal: the guest throws its writes away."""
    run("mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-N", "0", "-d", tree, image, f"{megabytes}M")


def build_work(tree: Path, image: Path) -> None:
    """The small image, /work in the guest: pyrt as it stands in this checkout, its dependencies, the tests and their payload."""
    shutil.copytree(CHECKOUT / "pyrt", tree / "pyrt", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(HERE / "guest", tree / "guest", ignore=shutil.ignore_patterns("__pycache__"))
    copy_dependencies(tree / "site")
    rootfs = tree / "rootfs"
    for name in ("bin", "proc", "sys", "dev", "etc", "tmp", "run"):
        (rootfs / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", rootfs / "bin" / "busybox")
    for applet in ("sh", "true", "cat", "sleep", "echo", "mknod"):
        (rootfs / "bin" / applet).symlink_to("busybox")
    run("cc", "-O2", "-static", "-Wall", "-Wextra", "-Werror", "-o", rootfs / "bin" / "payload", HERE / "guest" / "payload.c")
    # Compiled here, because compiling takes the guest twenty times as long; unchecked, so that no time stamp voids it.
    run(sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", tree / "pyrt", tree / "site", tree / "guest")
    make_ext4(tree, image, megabytes=used_megabytes(tree) * 5 // 4 + 16)


def guest_python() -> str:
    """Version ("3.11") of the Python that the guest's root has: that of this machine's distribution."""
    policy = run("apt-cache", "policy", "python3")
    match = re.search(r"Candidate: (3\.\d+)", policy)
    return match[1] if match else ""


def copy_dependencies(target: Path) -> None:
    """pyrt's dependencies: copied from this interpreter where the guest's is of the same version, else fetched for the guest's."""
    wanted = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["dependencies"]
    target.mkdir(parents=True)
    if guest_python() == f"{sys.version_info.major}.{sys.version_info.minor}":
        for name in with_requirements(wanted):
            copy_distribution(name, target)
    else:
        version = guest_python()
        run(sys.executable, "-m", "pip", "install", "-q", "--target", target, "--python-version", version, "--only-binary=:all:", *wanted)


def with_requirements(requirements: Sequence[str]) -> list[str]:
    """Names of the distributions that these requirements bring in, themselves included. Raises Unavailable if one is not installed."""
    names: list[str] = []
    left = list(requirements)
    while left:
        requirement = left.pop()
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        if name in names or "extra ==" in requirement:
            continue
        try:
            left += importlib.metadata.distribution(name).requires or []
        except importlib.metadata.PackageNotFoundError:
            if ";" in requirement:  # for another platform or Python
                continue
            raise Unavailable(f"Python package {name} is not installed here") from None
        names.append(name)
    return names


def copy_distribution(name: str, target: Path) -> None:
    """Copies an installed distribution's modules."""
    distribution = importlib.metadata.distribution(name)
    for file in distribution.files or ():
        source = Path(str(distribution.locate_file(file)))
        if file.parts[0] in ("..", "/") or "__pycache__" in file.parts or not source.is_file():
            continue
        place = target / file
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, place)

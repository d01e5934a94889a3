"""The image that the peers run: a busybox root file system as a tar layer, and the same as an OCI archive. Made here, no network."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import shutil
import struct
import subprocess
import tarfile
from pathlib import Path

NAME = "docker.io/library/pyrtbox:latest"
FOLDERS = ("bin", "dev", "etc", "home", "proc", "root", "run", "sys", "tmp", "usr", "usr/bin", "usr/sbin", "sbin", "var")
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nguest:x:1000:1000:guest:/home:/bin/sh\n",
    "etc/group": "root:x:0:\nguest:x:1000:\naudio:x:29:guest\n",
}
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def busybox() -> str | None:
    """The path of a static busybox, or None."""
    path = shutil.which("busybox", path=os.environ.get("PATH", "") + ":/bin:/usr/bin")
    if path is None:
        return None
    return path if is_static(path) else None


def is_static(path: str) -> bool:
    """Whether a 64-bit ELF program asks for no dynamic loader: it has no PT_INTERP (3) among its program headers. See elf(5)."""
    with open(path, "rb") as file:
        header = file.read(64)
        if header[:5] != b"\x7fELF\x02":
            return False
        (offset,) = struct.unpack_from("<Q", header, 32)
        size, count = struct.unpack_from("<HH", header, 54)
        file.seek(offset)
        table = file.read(size * count)
    return all(struct.unpack_from("<I", table, size * number)[0] != 3 for number in range(count))


def make_layer(path: Path, binary: str) -> None:
    """Writes the root file system as an uncompressed tar."""
    applets = subprocess.run([binary, "--list"], capture_output=True, text=True, check=True, timeout=20).stdout.split()
    with tarfile.open(path, "w") as tar:
        for folder in FOLDERS:
            entry = tarfile.TarInfo(folder)
            entry.type = tarfile.DIRTYPE
            entry.mode = 0o1777 if folder == "tmp" else 0o755
            tar.addfile(entry)
        for name, text in FILES.items():
            _add(tar, name, text.encode())
        entry = tarfile.TarInfo("bin/busybox")
        entry.mode = 0o755
        entry.size = os.path.getsize(binary)
        with open(binary, "rb") as file:
            tar.addfile(entry, file)
        for applet in applets:
            if applet != "busybox":
                entry = tarfile.TarInfo(f"bin/{applet}")
                entry.type = tarfile.SYMTYPE
                entry.linkname = "busybox"
                tar.addfile(entry)


def make_archive(path: Path, layer: Path) -> None:
    """Writes an OCI image layout of that one layer as a tar, as `ctr image import` reads it."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    data = layer.read_bytes()
    config = _json(
        {
            "architecture": machine,
            "os": "linux",
            "config": {"Env": [f"PATH={PATH}"], "Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(data)]},
        }
    )
    vendor = "application/vnd.oci.image"
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{vendor}.manifest.v1+json",
            "config": _descriptor(f"{vendor}.config.v1+json", config),
            "layers": [_descriptor(f"{vendor}.layer.v1.tar", data)],
        }
    )
    entry = _descriptor(f"{vendor}.manifest.v1+json", manifest) | {
        "annotations": {"io.containerd.image.name": NAME, "org.opencontainers.image.ref.name": "latest"},
        "platform": {"os": "linux", "architecture": machine},
    }
    with tarfile.open(path, "w") as tar:
        _add(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add(tar, "index.json", _json({"schemaVersion": 2, "manifests": [entry]}))
        for blob in (data, config, manifest):
            _add(tar, "blobs/sha256/" + _digest(blob).removeprefix("sha256:"), blob)


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _descriptor(kind: str, data: bytes) -> dict[str, object]:
    return {"mediaType": kind, "digest": _digest(data), "size": len(data)}


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    entry.mode = 0o644
    tar.addfile(entry, io.BytesIO(data))

"""A Python process that imports pyrt and runs one container for each line read on stdin; answers "MICROSECONDS STATUS".

    python bench/worker.py [--resident BYTES] [--rootfs DIR]

With --resident it first fills that much memory in ordinary small pages, as a service with a big heap would have done.
"""

from __future__ import annotations

import argparse
import mmap
import sys
import time
from pathlib import Path


def fill(size: int) -> mmap.mmap:
    """Anonymous memory of `size` bytes, each page of it touched."""
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    chunk = b"x" * (1 << 20)
    for at in range(0, size, len(chunk)):
        memory[at : at + len(chunk)] = chunk
    return memory


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--resident", type=int, default=0)
    options.add_argument("--rootfs", default="")
    chosen = options.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    import pyrt

    memory = fill(chosen.resident) if chosen.resident else None
    for _ in sys.stdin:
        begin = time.perf_counter_ns()
        if chosen.rootfs:
            done = pyrt.run(None, ["/bin/true"], rootfs=chosen.rootfs)
        else:
            done = pyrt.run("host", ["/bin/true"])
        took = time.perf_counter_ns() - begin
        print(took // 1000, done.returncode, flush=True)
    if memory is not None:
        memory.close()


if __name__ == "__main__":
    main()

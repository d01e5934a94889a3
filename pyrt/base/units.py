"""Sizes, CPUs, durations and ulimits as people write them on Docker's command line.

All functions raise InvalidRequest with one line that quotes what was written.
"""

from __future__ import annotations

import re
import signal
from decimal import Decimal, InvalidOperation

from pyrt.base.errors import InvalidRequest

__all__ = [
    "RLIM_INFINITY",
    "ULIMITS",
    "format_size",
    "parse_cpus",
    "parse_duration",
    "parse_list",
    "parse_signal",
    "parse_size",
    "parse_ulimit",
]

RLIM_INFINITY = (1 << 64) - 1
_INT64_MAX = (1 << 63) - 1

_SIZE = re.compile(r"(\d+(?:\.\d*)?|\.\d+) ?([bkmgtp]?)(i?b)?\Z", re.IGNORECASE)
_SHIFT = {"": 0, "b": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}


def parse_size(text: str | int) -> int:
    """Bytes of ``64m``, ``1.5g``, ``512KiB`` or ``1000``; powers of 1024, as docker's `-m` reads them."""
    if isinstance(text, int):
        if text < 0 or text > _INT64_MAX:
            raise InvalidRequest(f"invalid size: '{text}'")
        return text
    found = _SIZE.match(text.strip())
    if not found or (found[2].lower() in ("", "b") and found[3]):
        raise InvalidRequest(f"invalid size: '{text}'")
    size = int(Decimal(found[1]) * (1 << _SHIFT[found[2].lower()]))
    if size > _INT64_MAX:
        raise InvalidRequest(f"invalid size: '{text}': does not fit in 63 bits")
    return size


def format_size(size: int) -> str:
    """``64MiB`` for 67108864: binary units, four digits at most."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            return f"{value:.4g}{unit}"
        value /= 1024
    return f"{value:.4g}PiB"


def parse_cpus(text: str | float) -> int:
    """Billionths of a CPU of ``0.5`` or ``2``. 0 means no limit."""
    try:
        value = Decimal(str(text).strip())
    except InvalidOperation:
        raise InvalidRequest(f"invalid number of CPUs: '{text}'") from None
    if not value.is_finite() or value < 0 or value > 1 << 20:
        raise InvalidRequest(f"invalid number of CPUs: '{text}'")
    nano = value * 1_000_000_000
    if nano != int(nano):
        raise InvalidRequest(f"invalid number of CPUs: '{text}' is too precise")
    return int(nano)


_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str | float) -> float:
    """Seconds of ``1m30s``, ``500ms`` (as Go writes durations) or a plain number of seconds."""
    if isinstance(text, (int, float)):
        value = float(text)
    else:
        word = text.strip()
        try:
            value = float(word)
        except ValueError:
            value, at = 0.0, 0
            for part in _DURATION_PART.finditer(word):
                if part.start() != at:
                    break
                value += float(part[1]) * _SECONDS[part[2]]
                at = part.end()
            if not word or at != len(word):
                raise InvalidRequest(f"invalid duration: '{text}'") from None
    if not 0 <= value < 1e12:  # also refuses nan
        raise InvalidRequest(f"invalid duration: '{text}'")
    return value


# Names as docker takes them, and the kernel's RLIMIT_ names (getrlimit(2)).
ULIMITS = {
    "as": "RLIMIT_AS",
    "core": "RLIMIT_CORE",
    "cpu": "RLIMIT_CPU",
    "data": "RLIMIT_DATA",
    "fsize": "RLIMIT_FSIZE",
    "locks": "RLIMIT_LOCKS",
    "memlock": "RLIMIT_MEMLOCK",
    "msgqueue": "RLIMIT_MSGQUEUE",
    "nice": "RLIMIT_NICE",
    "nofile": "RLIMIT_NOFILE",
    "nproc": "RLIMIT_NPROC",
    "rss": "RLIMIT_RSS",
    "rtprio": "RLIMIT_RTPRIO",
    "rttime": "RLIMIT_RTTIME",
    "sigpending": "RLIMIT_SIGPENDING",
    "stack": "RLIMIT_STACK",
}


def parse_ulimit(text: str) -> tuple[str, int, int]:
    """(``nofile``, soft, hard) of ``nofile=1024:2048``; -1 or ``unlimited`` is RLIM_INFINITY; one value is both."""
    name, equals, value = text.partition("=")
    if not equals or not value:
        raise InvalidRequest(f"invalid ulimit argument: {text}")
    if name not in ULIMITS:
        raise InvalidRequest(f"invalid ulimit type: {name}")
    soft_text, colon, hard_text = value.partition(":")
    soft = _limit(soft_text, text)
    hard = _limit(hard_text, text) if colon else soft
    if soft > hard:
        raise InvalidRequest(f"ulimit soft limit must be less than or equal to hard limit: {text}")
    return name, soft, hard


def _limit(word: str, whole: str) -> int:
    if word in ("-1", "unlimited"):
        return RLIM_INFINITY
    if not word.isascii() or not word.isdigit() or int(word) > RLIM_INFINITY:
        raise InvalidRequest(f"invalid ulimit argument: {whole}")
    return int(word)


def parse_signal(text: str | int) -> int:
    """Number of ``TERM``, ``SIGTERM``, ``15``, ``RTMIN+3``."""
    word = str(text).strip().upper()
    if word.isascii() and word.isdigit():
        number = int(word)
        if 1 <= number <= 64:
            return number
        raise InvalidRequest(f"invalid signal: {text}")
    name = word if word.startswith("SIG") else "SIG" + word
    base, plus, offset = name.partition("+")
    if not plus:
        base, _, offset = name.partition("-")
        offset = "-" + offset if offset else ""
    member = signal.__dict__.get(base)
    if not isinstance(member, signal.Signals):
        raise InvalidRequest(f"invalid signal: {text}")
    number = int(member)
    if offset:
        if base not in ("SIGRTMIN", "SIGRTMAX") or not offset.lstrip("-").isdigit():
            raise InvalidRequest(f"invalid signal: {text}")
        number += int(offset)
        if not signal.SIGRTMIN <= number <= signal.SIGRTMAX:
            raise InvalidRequest(f"invalid signal: {text}")
    return number


def parse_list(text: str) -> tuple[int, ...]:
    """Numbers of a cpuset list, as ``0-2,5`` (cpuset(7), "List format")."""
    numbers: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise InvalidRequest(f"invalid list of CPUs or memory nodes: '{text}'")
        low, high = int(first), int(last) if dash else int(first)
        if low > high or high >= 1 << 16:
            raise InvalidRequest(f"invalid list of CPUs or memory nodes: '{text}'")
        numbers.extend(range(low, high + 1))
    return tuple(dict.fromkeys(numbers))

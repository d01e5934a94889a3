"""Errors and warnings of pyrt-oci, as runc's callers expect them: to --log in text or JSON, and to stderr."""

from __future__ import annotations

import json
import os
import sys
import time

from pyrt.base.errors import InvalidRequest, errno_words

__all__ = ["Log"]


class Log:
    """Where messages go. `path` "": stderr. `form`: "text" or "json". An entry is one write, so that entries never
    mix.
    """

    def __init__(self, path: str = "", form: str = "text", debug: bool = False) -> None:
        if form not in ("", "text", "json"):
            raise InvalidRequest(f"invalid log-format: {form}")
        self._json = form == "json"
        self._debug = debug
        self._fd = -1
        if path and path != "/dev/stderr":
            try:
                self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            except OSError as error:
                raise InvalidRequest(f"open {path}: {errno_words(error.errno or 0)}") from None

    def error(self, text: str) -> None:
        """What a command failed for; also on stderr when the log is elsewhere."""
        self._entry("error", text)
        if self._fd >= 0:
            _to_stderr(text)

    def warning(self, text: str) -> None:
        """What went wrong without stopping the command."""
        self._entry("warning", text)

    def detail(self, text: str) -> None:
        """What happens on the way, for --debug."""
        if self._debug:
            self._entry("debug", text)

    def _entry(self, level: str, text: str) -> None:
        text = " ".join(text.split("\n"))
        if self._fd < 0 and not self._json and level == "error":
            _to_stderr(text)
            return
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if self._json:
            line = json.dumps({"level": level, "msg": text, "time": now}, ensure_ascii=False, separators=(",", ":"))
        else:
            line = f'time="{now}" level={level} msg={json.dumps(text, ensure_ascii=False)}'
        if self._fd < 0:
            _to_stderr(line)
            return
        try:
            os.write(self._fd, line.encode(errors="surrogateescape") + b"\n")
        except OSError:
            pass  # nobody is left to be told


def _to_stderr(text: str) -> None:
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass

"""config.json, process.json and resources.json -> frozen structs, or one line that says what is wrong and where.

Go programs write `null` for an empty list or object, and Go readers take it as "not there". So do we: a document
with nulls in places where they do not fit is read a second time without them. Everything else that does not fit is
refused.
"""

from __future__ import annotations

import os
from typing import TypeVar

import msgspec

from pyrt.base.errors import InvalidSpec, NotFound
from pyrt.model import oci

MAX_SIZE = 16 * 1024 * 1024
"""Bytes; a larger configuration is refused before it is read."""

T = TypeVar("T", bound=oci.Oci)

_spec_decoder = msgspec.json.Decoder(oci.Spec)


def decode(raw: bytes, name: str = "config.json") -> oci.Spec:
    """A container's configuration from JSON. Raises InvalidSpec naming `name` and the JSON path."""
    return decode_as(oci.Spec, raw, name)


def load(path: str) -> oci.Spec:
    """Reads and decodes the configuration at `path`.

    Raises NotFound if there is no such file, InvalidSpec for anything else that is wrong with it."""
    return load_as(oci.Spec, path)


def load_as(kind: type[T], path: str) -> T:
    """Like `load` for another struct of the model (Process for `exec --process`, LinuxResources for `update -r`)."""
    return decode_as(kind, read_file(path), path)


def decode_as(kind: type[T], raw: bytes, name: str) -> T:
    """Like `decode` for another struct of the model."""
    if b"\\u0000" in raw:
        raise InvalidSpec(f"{name}: a string contains a NUL byte, which the kernel cannot take")
    try:
        if kind is oci.Spec:
            return _spec_decoder.decode(raw)  # type: ignore[return-value]
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if "got `null`" not in str(error):
            raise _invalid(name, error) from None
    try:
        return msgspec.convert(_without_nulls(msgspec.json.decode(raw)), kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid(name, error) from None


def read_file(path: str) -> bytes:
    """The bytes of the regular file (or pipe) at `path`, at most MAX_SIZE. Raises NotFound or InvalidSpec."""
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_SIZE + 1)
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file") from None
    except OSError as error:
        raise InvalidSpec(f"{path}: cannot be read: {os.strerror(error.errno or 0)}") from None
    except ValueError:
        raise InvalidSpec(f"{path!r}: not a path (it contains a NUL byte)") from None
    if len(raw) > MAX_SIZE:
        raise InvalidSpec(f"{path}: larger than {MAX_SIZE} bytes")
    return raw


def _invalid(name: str, error: Exception) -> InvalidSpec:
    kind = "" if isinstance(error, msgspec.ValidationError) else "not JSON: "
    return InvalidSpec(f"{name}: {kind}{_words(error)}")


def _words(error: Exception) -> str:
    """msgspec's sentence on one line, the path first: "$.process.uid: expected `int`, got `str`"."""
    text, sep, where = " ".join(str(error).split()).rpartition(" - at `")
    if not sep:
        return " ".join(str(error).split())
    return f"{where.rstrip('`')}: {text[:1].lower()}{text[1:]}"


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value

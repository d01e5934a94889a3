"""A container's configuration comes from strangers: whatever it holds, it is taken, or refused in one line. Nothing in between.

Each file of corpus/spec is read as it is, then with pieces changed at random: its bytes, or its values by ones of another kind. The seed is
fixed, so that a failure can be had again; it names the document.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyrt import native
from pyrt.base.errors import PyrtError
from pyrt.runtime.host import host_facts
from pyrt.runtime.plan.compile import compile_create
from pyrt.runtime.plan.encode import encode
from pyrt.runtime.plan.options import CompileOptions
from pyrt.runtime.spec import decode
from pyrt.runtime.spec.validate import validate

CORPUS = sorted((Path(__file__).parent / "corpus" / "spec").iterdir())
ODD: list[Any] = [
    None, True, 0, -1, 1 << 31, 1 << 63, -(1 << 63), 1 << 64, 1e308, 0.5, "", "a", "/", "..", "../../etc", "/a/../b", "a\nb", "\u00e4", "x" * 5000,
    "0-4294967295", "9" * 30, "CAP_NOTHING", [], [None], [[]], {}, {"": ""}, {"a": {"b": []}},
]  # fmt: skip


FACTS = host_facts()


def accepted(raw: bytes) -> bool:
    """Whether the decoder takes the document. If so it goes on its way as far as it comes without a kernel: whatever the compiler makes
    of it, the executor's own check takes. A refusal, wherever, is one line of words."""
    decoded = False
    try:
        spec = decode.decode(raw)
        decoded = True
        validate(spec, "/")
        plan = compile_create(spec, FACTS, CompileOptions(id="f" * 64, bundle="/", run_dir="/run/pyrt"))
        encoded = encode(plan)
    except PyrtError as error:
        words = str(error)
        assert words, raw
        assert "\n" not in words, (raw, words)
        assert "Traceback" not in words, (raw, words)
        return decoded
    native.validate(encoded)
    return decoded


def places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of each value inside a document."""
    items: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


def changed(document: Any, path: tuple[str | int, ...], change: Callable[[Any, Any], None]) -> bytes:
    """The document with `change(holder, key)` done where the path leads."""
    result = copy.deepcopy(document)
    holder = result
    for key in path[:-1]:
        holder = holder[key]
    change(holder, path[-1])
    return json.dumps(result).encode()


@pytest.mark.parametrize("path", CORPUS, ids=lambda p: p.stem)
def test_corpus(path: Path) -> None:
    assert accepted(path.read_bytes()) == (path.stem in ("common", "full", "small", "nulls"))


@pytest.mark.parametrize("path", CORPUS, ids=lambda p: p.stem)
def test_bytes_changed_at_random(path: Path) -> None:
    raw = path.read_bytes()
    dice = random.Random(path.stem)
    for _ in range(500):
        copied = bytearray(raw)
        for _ in range(dice.randint(1, 8)):
            at = dice.randrange(len(copied))
            match dice.randrange(3):
                case 0:
                    copied[at] = dice.randrange(256)
                case 1:
                    del copied[at : at + dice.randint(1, 40)]
                case _:
                    copied[at:at] = copied[dice.randrange(len(copied)) :][: dice.randint(1, 40)]
            if not copied:
                break
        accepted(bytes(copied))


@pytest.mark.parametrize("name", ["common", "full", "small"])
def test_each_value_replaced(name: str) -> None:
    document = json.loads((Path(__file__).parent / "corpus" / "spec" / f"{name}.json").read_text())
    refused = 0
    for path in places(document):
        for odd in ODD:
            refused += not accepted(changed(document, path, lambda holder, key, odd=odd: holder.__setitem__(key, odd)))
        accepted(changed(document, path, lambda holder, key: holder.pop(key)))
        if isinstance(path[-1], str):
            accepted(changed(document, path, lambda holder, key: holder.__setitem__(f"{key}\u00e4", holder.pop(key))))
    assert refused > 100

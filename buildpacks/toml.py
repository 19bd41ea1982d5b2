"""TOML that a stranger wrote, with a bound on its dotted keys. Pure.

`tomllib` notes every prefix of every dotted key: 16 KB of `a.a.a.…` take 250 MB, and memory grows with the square. Its private
`parse_key` is the one place where keys are read, so the bound is there; `tests/unit/buildpacks/test_toml.py` knows its shape.
"""

from __future__ import annotations

import math
import re
import threading
import tomllib
from importlib import import_module
from typing import Any

MOST_PARTS = 32
"""Of one key; the deepest in use have five."""
MOST_DOTTED = 50_000
"""Parts of all dotted keys of a text together, under 1 KB each; a lock file has two for each package."""

_LONG_NUMBER = re.compile(r"0[xob][0-9A-Fa-f_]{300}")
"""Python reads such a number, and then cannot write it: TOML has 64 bits."""
_parser: Any = import_module("tomllib._parser")


class _Left(threading.local):
    """How many parts of dotted keys the text that `toml_of` reads in this thread may still have."""

    parts: float = math.inf


_left = _Left()


def toml_of(text: str) -> dict[str, Any]:
    """The table. Raises ValueError, whose text names the fault and its line."""
    if number := _LONG_NUMBER.search(text):
        raise ValueError(
            f"a number has more than 64 bits (line {text.count(chr(10), 0, number.start()) + 1})"
        )
    _left.parts = MOST_DOTTED
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    finally:
        _left.parts = math.inf


def _parse_key(src: str, pos: int) -> tuple[int, tuple[str, ...]]:
    """As tomllib's own, within the bounds. Raises ValueError."""
    parts: list[str] = []
    while True:
        pos, part = _parser.parse_key_part(src, pos)
        parts.append(part)
        pos = _parser.skip_chars(src, pos, _parser.TOML_WS)
        if src[pos : pos + 1] != ".":
            break
        if len(parts) >= MOST_PARTS:
            raise ValueError(
                f"a key has more than {MOST_PARTS} parts (line {src.count(chr(10), 0, pos) + 1})"
            )
        pos = _parser.skip_chars(src, pos + 1, _parser.TOML_WS)
    if len(parts) > 1:
        _left.parts -= len(parts)
        if _left.parts < 0:
            raise ValueError(f"the dotted keys have more than {MOST_DOTTED} parts together")
    return pos, tuple(parts)


_parser.parse_key = _parse_key

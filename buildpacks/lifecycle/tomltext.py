"""Writes TOML 1.0, for the few files that buildpacks get: tables at the top, arrays inline."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def table(name: str, values: Mapping[str, Any]) -> str:
    """`[name]` with its values, each on a line; tables in it become `[name.KEY]`, as the specification shows them."""
    inner = {key: found for key, found in values.items() if isinstance(found, Mapping)}
    lines = "".join(f"{_key(key)} = {value(found)}\n" for key, found in values.items() if key not in inner)
    bare = name.strip("[]")
    return f"[{name}]\n{lines}" + "".join(table(f"{bare}.{_key(key)}", found) for key, found in inner.items())


def array(name: str, items: Sequence[Mapping[str, Any]]) -> str:
    """`[[name]]` for each item."""
    return "\n".join(table(f"[{name}]", item) for item in items)


def value(found: Any) -> str:
    """What `tomllib` gave, as text that it reads back."""
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {value(found[key])}" for key in found) + "}"
    if isinstance(found, list):
        return "[" + ", ".join(map(value, found)) + "]"
    if isinstance(found, date | datetime | time):
        return found.isoformat()
    return repr(found) if isinstance(found, int | float) else _text(str(found))


def _key(text: str) -> str:
    return text if _BARE.fullmatch(text) else _text(text)


def _text(text: str) -> str:
    """A basic string; JSON escapes all that TOML does, but for one letter."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")

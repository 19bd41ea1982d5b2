"""Long work in pieces, between which the loop serves: generators that yield often, for large JSON above all."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final, TypeVar

Result = TypeVar("Result")
Pieces = Generator[None, None, Result]
"""A generator that yields at least every fraction of a millisecond, and returns its result."""

LEVELS: Final = 3
"""How many levels of JSON are read entry by entry: a message, the table in it, and its routes, pools …."""
RELEASED: Final = 64
"""List entries that are freed at a time."""

_DECODER = json.JSONDecoder()
_ENCODER = json.JSONEncoder(separators=(",", ":"))
_space = re.compile(r"[ \t\n\r]*").match


def at_once(work: Pieces[Result]) -> Result:
    """Do the work without interruption; returns its result."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: Result = end.value
            return result


def load(text: str) -> Pieces[Any]:
    """What `json.loads` returns. Raises ValueError."""
    value, at = yield from _value(text, 0, LEVELS)
    if _skip(text, at) != len(text):
        raise json.JSONDecodeError("Extra data", text, at)
    return value


def _skip(text: str, at: int) -> int:
    match = _space(text, at)
    return match.end() if match is not None else at


def _value(text: str, at: int, levels: int) -> Pieces[tuple[Any, int]]:
    """The value at `at`, after white space, and its end."""
    at = _skip(text, at)
    opening = text[at : at + 1]
    if not levels or opening not in ("{", "["):
        return _DECODER.raw_decode(text, at)
    if opening == "{":
        return (yield from _object(text, at, levels))
    return (yield from _array(text, at, levels))


def _object(text: str, at: int, levels: int) -> Pieces[tuple[Any, int]]:
    found: dict[str, Any] = {}
    at = _skip(text, at + 1)
    if text[at : at + 1] == "}":
        return found, at + 1
    while True:
        if text[at : at + 1] != '"':
            raise json.JSONDecodeError("Expecting property name enclosed in double quotes", text, at)
        key, at = _DECODER.raw_decode(text, at)
        at = _skip(text, at)
        if text[at : at + 1] != ":":
            raise json.JSONDecodeError("Expecting ':' delimiter", text, at)
        found[key], at = yield from _value(text, at + 1, levels - 1)
        yield
        at = _skip(text, at)
        if text[at : at + 1] == "}":
            return found, at + 1
        at = _comma(text, at)


def _array(text: str, at: int, levels: int) -> Pieces[tuple[Any, int]]:
    found: list[Any] = []
    at = _skip(text, at + 1)
    if text[at : at + 1] == "]":
        return found, at + 1
    while True:
        value, at = yield from _value(text, at, levels - 1)
        found.append(value)
        yield
        at = _skip(text, at)
        if text[at : at + 1] == "]":
            return found, at + 1
        at = _comma(text, at)


def _comma(text: str, at: int) -> int:
    """The start of the next entry."""
    if text[at : at + 1] != ",":
        raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
    return _skip(text, at + 1)


def save(path: Path, document: dict[str, Any]) -> Pieces[None]:
    """Write the document as JSON, whole or not at all. The file is a cache, so a full disk is no error."""
    with contextlib.suppress(OSError):
        fd, name = tempfile.mkstemp(prefix=path.name, dir=path.parent)
        try:
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                for text in _texts(document):
                    file.write(text)
                    yield
            os.replace(name, path)
        except BaseException:  # GeneratorExit among them: the worker ends
            os.unlink(name)
            raise


def _texts(document: dict[str, Any]) -> Generator[str, None, None]:
    encode = _ENCODER.encode
    before = "{"
    for key, value in document.items():
        yield f"{before}{encode(key)}:"
        if value and isinstance(value, list):
            yield "[" + encode(value[0])
            for entry in value[1:]:
                yield "," + encode(entry)
            yield "]"
        elif value and isinstance(value, dict):
            inner = "{"
            for name, entry in value.items():
                yield f"{inner}{encode(str(name))}:{encode(entry)}"
                inner = ","
            yield "}"
        else:
            yield encode(value)
        before = ","
    yield "}" if document else "{}"


def release(*containers: Any) -> Pieces[None]:
    """Empty these lists and dictionaries, and those in them. Freeing a large table at once would take long."""
    for container in containers:
        if isinstance(container, list):
            while container:
                del container[-RELEASED:]
                yield
        elif isinstance(container, dict):
            while container:
                yield from release(container.popitem()[1])
                yield

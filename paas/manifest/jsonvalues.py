"""JSON as app.json may contain it: decode it strictly, check a value's type and range, and name its place when refused. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from paas.nouns.errors import BadInput
from paas.nouns.text import quoted

MAX_BYTES = 256 * 1024

T = TypeVar("T")


MAX_DEPTH = 64
RELAXED = "app.json: comments and commas after the last item are no JSON; they are read, other tools may refuse them"


def load(data: bytes, warn: Callable[[str], None] = lambda sentence: None) -> Any:
    """The value. `warn` hears of a file that is JSON5 (comments, trailing commas …) only. Raises BadInput naming the line."""
    if len(data) > MAX_BYTES:
        raise BadInput(f"app.json is {len(data)} bytes long; at most {MAX_BYTES} are read")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise BadInput(f"app.json line {line}: is not UTF-8", "Save it as UTF-8.") from None
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        value = _relaxed(text)
        if value is _UNREADABLE:
            raise BadInput(
                f"app.json line {error.lineno}, column {error.colno}: {error.msg}", "It must be JSON."
            ) from None
        warn(RELAXED)
        return value
    except RecursionError:
        raise BadInput("app.json is nested too deeply") from None
    except ValueError as error:  # an integer of more digits than Python converts
        raise BadInput(f"app.json: {error}") from None


_UNREADABLE = object()


def _relaxed(text: str) -> Any:
    """The value of JSON5, for which json.loads is too strict; _UNREADABLE if it is not that either."""
    import pyjson5  # few files need it

    try:
        return pyjson5.decode(text, maxdepth=MAX_DEPTH)
    except (pyjson5.Json5DecoderException, ValueError, OverflowError):
        return _UNREADABLE


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for key, value in pairs:
        if key in seen:
            raise BadInput(f"app.json: the key {quoted(key, 50)} appears twice in one object")
        seen[key] = value
    return seen


def _no_constant(name: str) -> NoReturn:
    raise BadInput(f"app.json: {name} is not a JSON value")


def expect_object(place: str, value: Any, rule: str = "is not an object") -> dict[str, Any]:
    if not isinstance(value, dict):
        refuse(place, value, rule)
    return value


def flag(place: str, value: Any) -> bool:
    if not isinstance(value, bool):
        refuse(place, value, "is not true or false")
    return bool(value)


def integer(place: str, value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        refuse(place, value, f"is not a whole number from {low} to {high}")
    return int(value)


def number(place: str, value: Any, low: float, high: float) -> float:
    try:
        number = float(value) if not isinstance(value, bool) else None
    except (TypeError, ValueError):
        number = None
    if number is None or not low <= number <= high:
        refuse(place, value, f"is not a number from {low:g} to {high:g}")
    return number


def amount(value: Any) -> str:
    """Text for the parsers of typed words: a JSON number becomes the text it was written as."""
    return value if isinstance(value, str) else json.dumps(value)


def by_rule(place: str, rule: Callable[[Any], T], value: Any) -> T:
    """Check the value as a typed word is checked. Raises BadInput that names the key."""
    try:
        return rule(value)
    except BadInput as error:
        raise BadInput(f"app.json: {place}: {error.message}", error.hint) from None


def refuse(place: str, value: Any, rule: str) -> NoReturn:
    prefix = "" if place == "app.json" else "app.json: "
    raise BadInput(f"{prefix}{place}: {_shown(value)} {rule}")


def _shown(value: Any) -> str:
    """A value as it is written in the file: text in quotes."""
    try:
        return quoted(json.dumps(value, ensure_ascii=False), 50)
    except ValueError:  # json5 reads 0xf…, and Python writes no number of thousands of digits
        return "a number of thousands of digits"

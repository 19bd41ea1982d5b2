"""JSON into dataclasses: the metadata of each field says how a value from outside is checked. Pure.

A class whose fields are made by `checked` is read by `parse`; its defaults apply to keys that are absent, and
`dataclasses.asdict` is the way back.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import MISSING, field, fields
from functools import cache
from typing import Any, TypeVar

Check = Callable[[str, object], Any]
"""Takes the name and the value of a field; returns the checked value or raises SpecError."""

T = TypeVar("T")


class SpecError(ValueError):
    """A value breaks a rule; the message names the field and the value."""


def failure(name: str, value: object, rule: str) -> SpecError:
    return SpecError(f"{name}: {repr(value)[:80]} {rule}")


def checked(check: Check, **options: Any) -> Any:
    """A dataclass field whose JSON value `check` accepts; `options` are those of `dataclasses.field`."""
    return field(metadata={"check": check}, **options)


def parse(cls: type[T], value: object, name: str, prefix: str = "") -> T:
    """The object `name` as a `cls`. Raises SpecError, also for unknown and missing keys; field names get `prefix`."""
    checks, required = _rules(cls)  # type: ignore[arg-type]
    if not isinstance(value, dict):
        raise failure(name, value, "is not an object")
    if unknown := sorted(value.keys() - checks):
        raise failure(name, unknown[0], "is not a known key")
    if missing := sorted(required - value.keys()):
        raise failure(name, missing[0], "is missing")
    return cls(**{key: checks[key](prefix + key, item) for key, item in value.items()})


@cache
def _rules(cls: type[Any]) -> tuple[dict[str, Check], frozenset[str]]:
    """The check of each field, and the fields without a default. Kept, since whatever the spawner touches at each start
    is memory of its own for each shim that it has forked."""
    known = fields(cls)
    required = frozenset(one.name for one in known if one.default is one.default_factory is MISSING)
    return {one.name: one.metadata["check"] for one in known}, required


def text(pattern: str = "") -> Check:
    rule = re.compile(pattern) if pattern else None

    def check(name: str, value: object) -> str:
        if not isinstance(value, str) or "\0" in value or not _encodable(value):
            raise failure(name, value, "is not text")
        if rule is not None and not rule.fullmatch(value):
            raise failure(name, value, f"does not match {rule.pattern}")
        return value

    return check


_text = text()


def _encodable(value: str) -> bool:
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def number(low: int, high: int) -> Check:
    def check(name: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise failure(name, value, f"is not an integer from {low} to {high}")
        return value

    return check


def path(name: str, value: object) -> str:
    """An absolute path without `.`, `..` and doubled slashes, outside /proc and /sys."""
    found: str = _text(name, value)
    if found[:1] != "/" or found[:2] == "//" or posixpath.normpath(found) != found:
        raise failure(name, value, "is not an absolute, normal path")
    if found in ("/proc", "/sys") or found.startswith(("/proc/", "/sys/")):
        raise failure(name, value, "lies in /proc or /sys")
    return found


def flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise failure(name, value, "is not true or false")
    return value


def sequence(name: str, value: object, check: Check, most: int, *, item: str) -> tuple[Any, ...]:
    """A list of at most `most`, each of which is called `item` in errors."""
    if not isinstance(value, list | tuple) or len(value) > most:
        raise failure(name, value, f"is not a list of at most {most}")
    return tuple(check(item, one) for one in value)


def optional(check: Check) -> Check:
    return lambda name, value: None if value is None else check(name, value)

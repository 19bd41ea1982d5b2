"""Strict JSON bodies and query strings: unknown keys, wrong types, NaN, duplicates and depth are refused."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from paas.daemon import threads
from paas.nouns.errors import BadInput, Unavailable
from paas.nouns.names import shown
from paas.nouns.units import shown_memory

MAX_BODY_BYTES = 1024 * 1024
MAX_DEPTH = 6
MAX_SAFE_INTEGER = 2**53
RESERVE_BYTES = 1 << 30
"""Room on the disk that no upload may take."""
UPLOAD_S = 3600.0
_PIECE = 1 << 18

T = TypeVar("T")
Rule = Callable[[Any], Any]
"""Gives the parsed value or raises BadInput; `str`-like rules come from paas.nouns.names."""


def body(
    required: Mapping[str, Rule] | None = None, optional: Mapping[str, Rule] | None = None
) -> dict[str, Any]:
    """The request's JSON object with every value parsed; an absent or null optional key is None."""
    required, optional = required or {}, optional or {}
    data = raw_body()
    rules = {**required, **optional}
    for key in data:
        if key not in rules:
            raise BadInput(
                f"{shown(key)} is not a known key.", f"Known keys: {', '.join(sorted(rules)) or 'none'}."
            )
    for key in required:
        if data.get(key) is None:
            raise BadInput(f"The key {key!r} is missing.")
    return {key: None if data.get(key) is None else rule(data[key]) for key, rule in rules.items()}


def query(rules: Mapping[str, Rule]) -> dict[str, Any]:
    """The query string with every value parsed; an absent one is None."""
    for key, values in request.args.lists():
        if key not in rules:
            raise BadInput(
                f"{shown(key)} is not a known parameter.", f"Known: {', '.join(sorted(rules)) or 'none'}."
            )
        if len(values) > 1:
            raise BadInput(f"The parameter {key} is given twice.")
    return {
        key: None if (text := request.args.get(key)) is None else rule(text) for key, rule in rules.items()
    }


def text(value: Any, most: int = 4096) -> str:
    """Any text without NUL."""
    if not isinstance(value, str) or len(value) > most or "\0" in value:
        raise BadInput(f"{shown(value)} is not text of at most {most} characters.")
    return value


def boolean(value: Any) -> bool:
    """JSON's true and false; `1`, `0`, `true`, `false` in a query."""
    if isinstance(value, bool):
        return value
    if value in ("1", "true"):
        return True
    if value in ("0", "false"):
        return False
    raise BadInput(f"{shown(value)} is neither true nor false.")


def whole(low: int, high: int) -> Rule:
    """A whole number within bounds, as a JSON number or as digits in a query."""

    def rule(value: Any) -> int:
        number = (
            int(value)
            if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16
            else value
        )
        if isinstance(number, bool) or not isinstance(number, int) or not low <= number <= high:
            raise BadInput(f"{shown(value)} is not a whole number from {low} to {high}.")
        return number

    return rule


def list_of(rule: Rule, most: int, nouns: str = "") -> Rule:
    """A list of parsed values."""

    def rule_of_list(value: Any) -> list[Any]:
        if not isinstance(value, list) or len(value) > most:
            raise BadInput(f"{shown(value)} is not a list of at most {most}{nouns}.")
        return [rule(item) for item in value]

    return rule_of_list


def dict_of(key_rule: Rule, value_rule: Rule, most: int = 1000) -> Rule:
    """An object with parsed keys and values."""

    def rule(value: Any) -> dict[Any, Any]:
        if not isinstance(value, dict) or len(value) > most:
            raise BadInput(f"{shown(value)} is not an object of at most {most} keys.")
        return {key_rule(key): value_rule(item) for key, item in value.items()}

    return rule


def fields(rules: Mapping[str, Rule], *, needed: bool = True) -> Rule:
    """An object with exactly these keys, or some of them unless `needed`."""

    def rule(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict) or set(value) - set(rules) or (needed and set(value) != set(rules)):
            raise BadInput(f"{shown(value)} is not an object with the keys {', '.join(rules)}.")
        return {key: rules[key](item) for key, item in value.items()}

    return rule


def received(folder: Path, most: int, setting: str = "") -> BinaryIO:
    """The request's body as an unnamed file in `folder`, at its beginning.

    Raises BadInput if it is too large or takes longer than UPLOAD_S, Unavailable if the disk has no room for it.
    """
    request.max_content_length = most + 1
    _need_room(folder, min(request.content_length or 0, most))
    with ExitStack() as failed, ended_after(UPLOAD_S) as overdue:
        descriptor = os.open(folder, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
        file = failed.enter_context(open(descriptor, "w+b"))
        try:
            while piece := request.stream.read(_PIECE):
                file.write(piece)
                if file.tell() > most:
                    raise RequestEntityTooLarge
                if overdue():
                    raise BadInput(f"The upload took longer than {UPLOAD_S:.0f} s.", cause="too slow")
                _need_room(folder, 0)
        except RequestEntityTooLarge:
            sentence = f"What was sent is larger than {shown_memory(most)}."
            hint = f"The operator may allow more: {setting}." if setting else ""
            raise BadInput(sentence, hint, cause="too large") from None
        file.seek(0)
        failed.pop_all()
        return file


def _need_room(folder: Path, size: int) -> None:
    """Raises Unavailable. Asked again for each piece, since other uploads take room meanwhile."""
    status = os.statvfs(folder)
    if status.f_bavail * status.f_frsize < size + RESERVE_BYTES:
        raise Unavailable(
            "The disk of the server has no room for what is sent.", "See: paas doctor", cause="disk full"
        )


@contextmanager
def ended_after(seconds: float) -> Iterator[Callable[[], bool]]:
    """Whether the time is over; then a read that still waits for its client ends too, however little trickles in."""
    deadline, sock = time.monotonic() + seconds, request.environ.get("gunicorn.socket")

    def end() -> None:
        with suppress(OSError):
            if sock is not None:
                sock.shutdown(socket.SHUT_RD)

    timer = threads.later("end of a body", seconds, end)
    try:
        yield lambda: time.monotonic() >= deadline
    finally:
        timer.cancel()


def raw_body() -> dict[str, Any]:
    """The request's JSON object, checked for shape only."""
    data = request.get_data(cache=False)
    if not data:
        return {}
    if request.mimetype != "application/json":
        raise BadInput("The body is not JSON.", "Send it as application/json.")
    try:
        value = json.loads(data, object_pairs_hook=_without_duplicates, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise BadInput("The body is not valid JSON.") from error
    if not isinstance(value, dict):
        raise BadInput("The body is not a JSON object.")
    _check(value, 1)
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise BadInput("A key of the body is given twice.")
    return value


def _constant(name: str) -> Any:
    raise BadInput(f"{name} is not JSON.")


def _check(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise BadInput(f"The body is nested deeper than {MAX_DEPTH}.")
    if isinstance(value, dict):
        for key, item in value.items():
            _check(key, depth + 1)
            _check(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth + 1)
    elif isinstance(value, str):
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise BadInput("A text in the body is not valid Unicode.")
    elif isinstance(value, int | float) and abs(value) > MAX_SAFE_INTEGER:
        raise BadInput("A number in the body is too large.")

"""The Procfile: which process types an app has, and the command of each. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection

from paas.nouns.errors import BadInput
from paas.nouns.text import quoted, slip

MAX_BYTES = 64 * 1024
MAX_TYPES = 50

TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
RESERVED = frozenset({"run", "build"})
"""Names that instances of other kinds carry (`run.12`, `build.3`)."""

_MEANT = ("web", "release", "worker")
"""Types that the platform, or a habit, gives a meaning."""

_HINT = 'A line reads "type: command", for example "web: gunicorn app:app".'
_TYPE_RULE = "A type starts with a letter or digit and has at most 63 letters, digits, - and _."


def parse_procfile(text: bytes) -> dict[str, str]:
    """Process types and their commands, in the file's order.

    Blank lines and lines that start with `#` are skipped; a comment after a command is the shell's business.
    Raises BadInput naming the line.
    """
    types: dict[str, str] = {}
    first_seen: dict[str, int] = {}
    for number, line in enumerate(_decode(text).splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, command = _parse_line(number, line)
        if name in types:
            raise BadInput(
                f"Procfile line {number}: type {name} is declared twice (first on line {first_seen[name]})",
                "Keep one line for each type.",
            )
        types[name], first_seen[name] = command, number
    if len(types) > MAX_TYPES:
        raise BadInput(f"Procfile declares {len(types)} types; at most {MAX_TYPES} are allowed")
    return types


def doubts(declared: Collection[str]) -> list[str]:
    """Warnings about types that look like a misspelling of a type with a meaning, or of each other."""
    found = {}
    for type in declared:
        for meant in _MEANT:
            if type != meant and meant not in declared and slip(type.lower(), meant):
                found[type] = f"Procfile: is {type} meant to be {meant}?"
    seen: dict[str, str] = {}
    for type in declared:
        other = seen.setdefault(type.lower(), type)
        if other != type:
            found[type] = f"Procfile: {other} and {type} are two types; are they meant to be one?"
    return list(found.values())


def _decode(text: bytes) -> str:
    if len(text) > MAX_BYTES:
        raise BadInput(f"Procfile is {len(text)} bytes long; at most {MAX_BYTES} are read")
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BadInput("Procfile is UTF-16", "Save it as UTF-8.")
    if b"\0" in text:
        line = text[: text.index(b"\0")].count(b"\n") + 1
        raise BadInput(f"Procfile line {line}: contains a NUL byte", "Save it as plain UTF-8 text.")
    try:
        return text.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = text[: error.start].count(b"\n") + 1
        raise BadInput(f"Procfile line {line}: is not UTF-8", "Save it as UTF-8.") from None


def _parse_line(number: int, line: str) -> tuple[str, str]:
    name, colon, command = line.partition(":")
    name, command = name.strip(), command.strip()
    if not colon:
        raise BadInput(f'Procfile line {number}: "{quoted(line)}" has no colon', _HINT)
    first, space, _ = name.partition(" ")
    if space and TYPE.fullmatch(first):
        raise BadInput(f'Procfile line {number}: no colon after "{first}"', _HINT)
    if not TYPE.fullmatch(name):
        raise BadInput(f'Procfile line {number}: "{quoted(name)}" is not a process type', _TYPE_RULE)
    if name in RESERVED:
        raise BadInput(
            f"Procfile line {number}: {name} is a name the platform uses itself",
            "Give the type another name.",
        )
    if not command:
        raise BadInput(f"Procfile line {number}: type {name} has no command", _HINT)
    return name, command

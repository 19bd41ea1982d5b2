"""Make untrusted text safe for a terminal: it can neither move the cursor nor pose as another line. Pure."""

from __future__ import annotations

import re

WARNING = " !     "
"""How a line that warns begins, in a push and in the CLI."""

_SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?|\x1b[ -/]*[0-~]?"
)
_CONTROL = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069"
"""All of C0 and C1 but tab and newline, line separators, and what changes the direction of writing."""
_SHOWN = re.compile(f"[{_CONTROL}]")
_REMOVED = re.compile(f"[\\n{_CONTROL}]")


def visible(text: str) -> str:
    """Lines whose control characters are written as escapes; nothing is left out.

    >>> visible("a\\x1b[2J")
    'a\\\\x1b[2J'
    """
    return text if text.isprintable() else _SHOWN.sub(_escape, text)


def harmless(text: str) -> str:
    """One line without escape sequences and control characters; tabs stay.

    >>> harmless("\\x1b[31mred\\x1b[0m\\rremote: ok")
    'redremote: ok'
    """
    return text if text.isprintable() else _REMOVED.sub("", _SEQUENCE.sub("", text))


def quoted(text: str, most: int = 60) -> str:
    """At most `most` characters of a word inside a sentence: each control character is a question mark."""
    clean = "".join(letter if letter.isprintable() else "?" for letter in text[: most + 1])
    return clean if len(clean) <= most else clean[: most - 1] + "…"


def one_line(text: str) -> str:
    """A command as one line: each control character, a newline too, is a blank."""
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


def json_text(text: str) -> str:
    """JSON with the same meaning, in which every control character is written as an escape."""
    return text if text.isprintable() else _SHOWN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def slip(one: str, other: str) -> bool:
    """Whether one letter at most is wrong, missing or too many, or two neighbours are swapped."""
    begin = _common(one, other)
    end = _common(one[begin:][::-1], other[begin:][::-1])
    left, right = one[begin : len(one) - end], other[begin : len(other) - end]
    return (len(left) <= 1 and len(right) <= 1) or (len(left) == 2 and left == right[::-1])


def _common(one: str, other: str) -> int:
    """The length of the common beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"

"""Patterns over paths, part by part: what `.slugignore`, `.dockerignore` and COPY have in common. Pure.

A star within a part is never given back once it has matched (`fnmatch.translate` writes atomic groups), so no pattern
takes more than its length times that of the path.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence

ANY_DEPTH = "**"
_MOST_CHARACTERS = 255
"""Of a part of a pattern: `fnmatch.translate` looks for the end of each bracket, so time grows by the square of the length."""
_NOTHING = re.compile(r"(?!)")
Parts = tuple[re.Pattern[str] | None, ...]
"""The parts of a path from the root; None stands for any number of parts."""


def parts_of(words: Sequence[str]) -> Parts:
    """`*`, `?`, `[a-z]` and `[^a-z]` stay within a part, `**` alone in one stands for any number of them.

    A part that is longer than the name of a file may be matches nothing.
    """
    return tuple(None if word == ANY_DEPTH else _part(word) for word in words)


def _part(word: str) -> re.Pattern[str]:
    if len(word) > _MOST_CHARACTERS:
        return _NOTHING
    return re.compile(fnmatch.translate(word.replace("[^", "[!")))


def matches(parts: Parts, path: Sequence[str]) -> bool:
    """Whether the whole path matches: after each None the first place that fits is taken, and tried further on if the rest fails."""
    at = here = 0
    star, resume = -1, 0
    while here < len(path):
        part = parts[at] if at < len(parts) else None
        if at < len(parts) and part is None:
            star, resume, at = at, here, at + 1
        elif part is not None and part.match(path[here]):
            at, here = at + 1, here + 1
        elif star >= 0:
            resume += 1
            at, here = star + 1, resume
        else:
            return False
    return all(part is None for part in parts[at:])

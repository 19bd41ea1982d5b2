"""Patterns over paths, part by part: what `.slugignore`, `.dockerignore` and COPY have in common. Pure.

A star within a part is never given back once it has matched (`fnmatch.translate` writes atomic groups), so no pattern
takes more than its length times that of the path.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence

ANY_DEPTH = "**"
Parts = tuple[re.Pattern[str] | None, ...]
"""The parts of a path from the root; None stands for any number of parts."""


def parts_of(words: Sequence[str]) -> Parts:
    """`*`, `?`, `[a-z]` and `[^a-z]` stay within a part, `**` alone in one stands for any number of them."""
    return tuple(
        None if word == ANY_DEPTH else re.compile(fnmatch.translate(word.replace("[^", "[!")))
        for word in words
    )


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

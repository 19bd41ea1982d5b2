"""`.slugignore`: which files of a commit the app does without. Heroku's rules; see docs/builds.md. Pure.

A pattern is matched part by part, and a star within a part is never given back once it has matched
(`fnmatch.translate` writes atomic groups), so no pattern takes more than its length times that of the path.
"""

from __future__ import annotations

import fnmatch
import os
import re
from dataclasses import dataclass

from paas.nouns.errors import BadInput

NAME = ".slugignore"
MAX_PATTERNS = 200
_ANY_DEPTH = "**"


@dataclass(frozen=True)
class _Pattern:
    """`parts` of the path from the root; None stands for any number of parts."""

    parts: tuple[re.Pattern[str] | None, ...]
    folders_only: bool

    def matches(self, path: list[str], *, folder: bool) -> bool:
        return (folder or not self.folders_only) and _match(self.parts, path)


class SlugIgnore:
    """Says of each entry of a listing, in the listing's order, whether it is left out; `count` are the files so far."""

    def __init__(self, text: bytes = b"") -> None:
        """Raises BadInput for too many patterns."""
        lines = [line.strip() for line in text.decode("utf-8", "surrogateescape").splitlines()]
        wanted = [line for line in lines if line.strip("/") and not line.startswith(("#", "!"))]
        if len(wanted) > MAX_PATTERNS:
            raise BadInput(f"{NAME} has {len(wanted)} patterns; {MAX_PATTERNS} are allowed.")
        self._patterns = [_parse(line) for line in wanted]
        self._folder = b""
        """The folder that was left out last, with a slash: everything below it is left out, too."""
        self.count = 0

    def leaves_out(self, path: bytes, *, folder: bool) -> bool:
        if not self._patterns:
            return False
        if not (self._folder and path.startswith(self._folder)):
            parts = os.fsdecode(path).split("/")
            if not any(pattern.matches(parts, folder=folder) for pattern in self._patterns):
                return False
            if folder:
                self._folder = path + b"/"
        self.count += not folder
        return True


def _parse(line: str) -> _Pattern:
    """With a slash inside, a pattern is a path from the root; without one, a name in any folder."""
    words = [word for word in line.split("/") if word not in ("", ".")]
    if "/" not in line.rstrip("/"):
        words.insert(0, _ANY_DEPTH)
    parts = tuple(None if word == _ANY_DEPTH else re.compile(fnmatch.translate(word)) for word in words)
    return _Pattern(parts, line.endswith("/"))


def _match(parts: tuple[re.Pattern[str] | None, ...], path: list[str]) -> bool:
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

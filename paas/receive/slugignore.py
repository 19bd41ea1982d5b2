"""`.slugignore`: which files of a commit the app does without. Heroku's rules; see docs/builds.md. Pure."""

from __future__ import annotations

import os
from dataclasses import dataclass

from buildpacks.globs import ANY_DEPTH, Parts, matches, parts_of
from paas.nouns.errors import BadInput

NAME = ".slugignore"
MAX_PATTERNS = 200


@dataclass(frozen=True)
class _Pattern:
    parts: Parts
    folders_only: bool

    def matches(self, path: list[str], *, folder: bool) -> bool:
        return (folder or not self.folders_only) and matches(self.parts, path)


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
        words.insert(0, ANY_DEPTH)
    return _Pattern(parts_of(words), line.endswith("/"))

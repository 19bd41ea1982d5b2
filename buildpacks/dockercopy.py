"""Which files of a push COPY and ADD take: `.dockerignore`, and the sources of an instruction. Pure."""

from __future__ import annotations

import posixpath
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from buildpacks.globs import Parts, matches, parts_of
from buildpacks.plan import BuildRefused, Tree, read_text

_IGNORE = ".dockerignore"
_MOST_PATTERNS = 200
_MOST_COMPARISONS = 5_000_000
_WILD = frozenset("*?[")


@dataclass(frozen=True)
class Source:
    """A file, or a folder of which the content is meant; `path` is empty for the whole push."""

    path: str
    files: tuple[str, ...]
    folder: bool


@dataclass(frozen=True)
class _Rule:
    parts: Parts
    again: bool
    """Whether it takes back what an earlier one left out."""


class Context:
    """The files of a push, its links among them, without those that `.dockerignore` leaves out."""

    def __init__(self, tree: Tree, dockerfile: str = "Dockerfile") -> None:
        """Raises BuildRefused for too many patterns."""
        rules = _rules(tree, (dockerfile + _IGNORE, _IGNORE))
        found = sorted({*tree.names(), *tree.links()})
        if len(rules) * len(found) > _MOST_COMPARISONS:
            raise BuildRefused(f"{len(rules)} patterns of .dockerignore are too many for {len(found)} files.")
        self.names = [name for name, out in zip(found, _left_out(rules, found), strict=True) if not out]

    def select(self, word: str) -> list[Source]:
        """What a source of COPY means; nothing when no file is like that."""
        path = posixpath.normpath(word.lstrip("/") or ".")
        if path == "..":
            return []
        if path == "." or not _WILD & set(path):
            return self._exactly("" if path == "." else path)
        words = [part.replace("**", "*") for part in path.split("/")]
        parts, depth = parts_of(words), len(words)
        heads = dict.fromkeys(
            "/".join(pieces[:depth])
            for pieces in (name.split("/") for name in self.names)
            if len(pieces) >= depth and matches(parts, pieces[:depth])
        )
        return [source for head in heads for source in self._exactly(head)]

    def _exactly(self, path: str) -> list[Source]:
        at = bisect_left(self.names, path)
        if at < len(self.names) and self.names[at] == path:
            return [Source(path, (path,), folder=False)]
        prefix = f"{path}/" if path else ""
        start = bisect_left(self.names, prefix)
        end = bisect_left(self.names, prefix[:-1] + "0") if prefix else len(self.names)
        return [Source(path, tuple(self.names[start:end]), folder=True)] if end > start else []


def _rules(tree: Tree, files: Sequence[str]) -> list[_Rule]:
    name = next((name for name in files if tree.exists(name)), None)
    if name is None:
        return []
    lines = [line.strip() for line in read_text(tree, name).splitlines() if not line.startswith("#")]
    found = []
    for line in lines:
        path = posixpath.normpath(line.removeprefix("!").strip().lstrip("/") or ".")
        if path != ".":
            found.append((path, line.startswith("!")))
    if len(found) > _MOST_PATTERNS:
        raise BuildRefused(f"{name} has {len(found)} patterns; {_MOST_PATTERNS} are allowed.")
    return [_Rule(parts_of(path.split("/")), again) for path, again in found]


def _left_out(rules: list[_Rule], names: list[str]) -> list[bool]:
    """A rule that matches a folder matches all below it; the last one that matches decides."""
    below: dict[str, list[bool]] = {"": [False] * len(rules)}

    def hits(path: str) -> list[bool]:
        folder, _, _ = path.rpartition("/")
        if folder not in below:
            below[folder] = hits(folder)
        pieces = path.split("/")
        return [hit or matches(rule.parts, pieces) for hit, rule in zip(below[folder], rules, strict=True)]

    def out(path: str) -> bool:
        found = False
        for hit, rule in zip(hits(path), rules, strict=True):
            found = not rule.again if hit else found
        return found

    return [bool(rules) and out(name) for name in names]

"""Reading requirements.txt: which files it takes in, which packages it names, and how firmly. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from buildpacks.plan import BuildRefused, Tree, quoted, read_text

_INCLUDE = re.compile(r"(-r|-c|--requirement|--constraint)(?:\s*=\s*|\s+|(?=[^-\s=]))(\S.*)")
_EDITABLE = re.compile(r"(?:-e|--editable)(?:\s*=\s*|\s+)(\S.*)")
_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)")
_URL = re.compile(r"[a-z][a-z+]*://", re.IGNORECASE)
MAX_FILES = 50


@dataclass
class Requirements:
    """What the files say. `files` are all of them, in reading order; `local` are paths into the repository that
    must be there when packages are installed; `unpinned` are names without `==`."""

    files: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    unpinned: list[str] = field(default_factory=list)
    local: list[str] = field(default_factory=list)
    hashed: bool = True


def normalised(name: str) -> str:
    """The canonical form of a distribution's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_requirements(tree: Tree) -> Requirements:
    """Follow requirements.txt and what it includes. Raises BuildRefused naming file and line."""
    found = Requirements()
    _read(tree, "requirements.txt", found)
    found.hashed = found.hashed and bool(found.names)
    return found


def _read(tree: Tree, path: str, found: Requirements) -> None:
    if path in found.files:
        return
    if len(found.files) >= MAX_FILES:
        raise BuildRefused(f"requirements.txt takes in more than {MAX_FILES} files.")
    found.files.append(path)
    for number, line in _logical_lines(read_text(tree, path)):
        where = f"{path} line {number}"
        include, editable = _INCLUDE.fullmatch(line), _EDITABLE.fullmatch(line)
        if include:
            inner = _included(tree, path, include[2].strip("\"' "), where)
            if inner is None:
                found.hashed = False
            elif include[1] in ("-c", "--constraint"):
                found.files.append(inner)
            else:
                _read(tree, inner, found)
        elif editable:
            _add_direct(editable[1], found)
        elif line.startswith("-"):
            continue
        else:
            _add(line, where, found)


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with continuations joined and comments gone, each with the number of its first line."""
    joined, first = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        first = first or number
        if line.endswith("\\"):
            joined += line[:-1] + " "
            continue
        whole = re.sub(r"(^|\s)#.*$", "", joined + line).strip()
        if whole:
            yield first, whole
        joined, first = "", 0
    if joined.strip():
        yield first, joined.strip()


def _included(tree: Tree, path: str, target: str, where: str) -> str | None:
    """The included file's path; None for an address."""
    if _URL.match(target):
        return None
    inner = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    if inner.startswith(("../", "/")):
        raise BuildRefused(f"{where}: {target} lies outside of the repository.")
    if not tree.exists(inner):
        raise BuildRefused(
            f"{where}: {target} is not in the repository.", "Add the file, or remove the line."
        )
    return inner


def _add_direct(target: str, found: Requirements) -> None:
    found.hashed = False
    egg = re.search(r"#egg=([A-Za-z0-9._-]+)", target)
    if egg:
        found.names.add(normalised(egg[1]))
    if not _URL.match(target.removeprefix("git+")):
        found.local.append(target)


def _add(line: str, where: str, found: Requirements) -> None:
    requirement = re.split(r"\s--[a-z]", line, maxsplit=1)[0].strip()
    bare = requirement.split(";")[0].strip()
    if bare.startswith((".", "/", "file:")) or bare.split("[")[0].endswith((".whl", ".tar.gz", ".zip")):
        _add_direct(bare, found)
        return
    if _URL.match(bare) or bare.startswith("git+"):
        _add_direct(bare, found)
        return
    match = _NAME.match(bare)
    if match is None:
        raise BuildRefused(f'{where}: "{quoted(bare)}" is not a requirement.')
    name = normalised(match[1])
    found.names.add(name)
    direct = re.search(r"@\s*(\S+)", bare)
    if direct:
        found.hashed = False
        if direct[1].startswith(("file:", ".")):
            found.local.append(direct[1])
    elif "==" not in bare:
        found.unpinned.append(match[1])
    if "--hash" not in line:
        found.hashed = False

"""The Pythons that a project says it supports: `requires-python` and what Poetry, Pipenv and setuptools call it. Pure."""

from __future__ import annotations

import configparser
import re
from dataclasses import dataclass
from typing import Any

from buildpacks.plan import BuildRefused, Tree, quoted, read_text
from buildpacks.toml import toml_of

_CLAUSE = re.compile(r"(>=|<=|===?|!=|~=|>|<|\^|~|=)?\s*v?(\d+(?:\.\d+)*)(\.[*x])?|\*")


@dataclass(frozen=True)
class Required:
    """`where` names the key and the file; one that is not `strict` only prefers, because another file says what to install."""

    text: str
    where: str
    strict: bool = True


def required_python(tree: Tree) -> Required | None:
    """What the project's own file says; None when it says nothing. Raises BuildRefused when that is no range of versions."""
    strict = not tree.exists("requirements.txt")
    found = _from_toml(tree) or _from_setup_cfg(tree)
    if found is None:
        return None
    text, where = found
    try:
        _matches((3, 11, 0), text)
    except ValueError:
        if not strict:
            return None
        raise BuildRefused(
            f'{where}: "{quoted(text, 40)}" is not a version specifier.', 'Write it like ">=3.11".'
        ) from None
    return Required(text, where, strict)


def satisfies(release: tuple[int, int, int], required: Required) -> bool:
    return _matches(release, required.text)


def _from_toml(tree: Tree) -> tuple[str, str] | None:
    for path in ("pyproject.toml", "Pipfile", "uv.lock"):
        if not tree.exists(path):
            continue
        try:
            data = toml_of(read_text(tree, path, 8 << 20))
        except ValueError:
            return None  # whoever installs from the file says what is wrong with it
        found = _declared(data, path)
        if found:
            return found
    return None


def _declared(data: dict[str, Any], path: str) -> tuple[str, str] | None:
    project, requires = _table(data.get("project")), _table(data.get("requires"))
    poetry = _table(_table(_table(data.get("tool")).get("poetry")).get("dependencies"))
    for text, key in (
        (project.get("requires-python") or data.get("requires-python"), "requires-python in "),
        (requires.get("python_full_version") or requires.get("python_version"), ""),
        (poetry.get("python"), "the Python of "),
    ):
        if isinstance(text, str) and text.strip():
            bare = re.fullmatch(r"\d+\.\d+(?:\.\d+)?", text.strip())
            return (f"=={'.'.join(text.strip().split('.')[:2])}.*" if bare else text), f"{key}{path}"
    return None


def _from_setup_cfg(tree: Tree) -> tuple[str, str] | None:
    if not tree.exists("setup.cfg"):
        return None
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(read_text(tree, "setup.cfg"))
    except configparser.Error:
        return None
    text = parser.get("options", "python_requires", fallback="").strip()
    return (text, "python_requires in setup.cfg") if text else None


def _matches(release: tuple[int, int, int], text: str) -> bool:
    """Whether the release is in a range as PEP 440, Poetry or npm write it. Raises ValueError for what is no range."""
    alternatives = [
        [_clause(release, part) for part in re.findall(r"[^\s,<>=!~^]*[<>=!~^]+\s*[^\s,]+|[^\s,]+", one)]
        for one in re.split(r"\s*\|\|?\s*", text.strip())
    ]
    return any(all(clauses) for clauses in alternatives)


def _clause(release: tuple[int, int, int], text: str) -> bool:
    match = _CLAUSE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a version range")
    if match[2] is None:
        return True
    operator, wanted = match[1] or "==", tuple(map(int, match[2].split(".")))[:4]
    low = (*wanted, 0, 0, 0)[:3]
    if operator == "^":
        return low <= release < (wanted[0] + 1,)
    if operator == "~":
        return low <= release and release[: min(len(wanted), 2)] == wanted[:2]
    if operator == "~=":
        return low <= release and release[: len(wanted) - 1] == wanted[:-1]
    if operator in ("=", "==", "===", "!="):
        exact = wanted if match[3] or match[1] is None else low
        return (release[: len(exact)] == exact) == (operator != "!=")
    return {">=": release >= low, "<=": release <= low, ">": release > low, "<": release < low}[operator]


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

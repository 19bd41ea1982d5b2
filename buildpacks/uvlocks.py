"""Whether a uv.lock was made from the pyproject.toml beside it. Pure.

A false refusal is worse than a miss: what cannot be compared for certain counts as equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, TypeVar

from buildpacks.plan import BuildRefused, quoted
from buildpacks.requirements import normalised

_MOST_TEXT = 500
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?\s*\(?([^()\[\]@]*)\)?\s*")
_CLAUSE = re.compile(r"(==|!=|~=|<=|>=|<|>)(\d{1,9}(?:\.\d{1,9}){0,5}(?:\.\*)?)")
_Terms = tuple[frozenset[str], frozenset[tuple[str, str]]]
"""The extras and the version clauses of a requirement."""
_Bound = tuple[int, ...]
_Entry = TypeVar("_Entry")


def check_lock(data: dict[str, Any], lock: dict[str, Any]) -> None:
    """Raises BuildRefused: the lock was made from other requirements than `data`, the pyproject.toml, has now."""
    project = _table(data.get("project"))
    own = normalised(str(project.get("name", "")))
    packages = [item for item in _list(lock.get("package")) if isinstance(item, dict)]
    for item in packages:
        if normalised(str(item.get("name", ""))) == own and "registry" not in _table(item.get("source")):
            recorded = _list(_table(item.get("metadata")).get("requires-dist"))
            entries = [entry for entry in recorded if isinstance(entry, dict) and not _of_extra(entry)]
            different = _different(data, [str(text) for text in _list(project.get("dependencies"))], entries)
            if different:
                raise _stale(f"different: {', '.join(different[:5])}")
    recorded_python, wanted_python = lock.get("requires-python"), project.get("requires-python")
    uv = _table(_table(data.get("tool")).get("uv"))
    alone = not _table(lock.get("manifest")).get("members") and not uv.keys() & {
        "workspace",
        "dependency-groups",
    }
    if alone and _other_pythons(str(recorded_python or ""), str(wanted_python or "")):
        raise _stale(
            f"requires-python was {quoted(str(recorded_python))} and is {quoted(str(wanted_python))}"
        )


def _stale(why: str) -> BuildRefused:
    return BuildRefused(f"uv.lock does not fit pyproject.toml ({why}).", "Run uv lock and commit the result.")


def _of_extra(entry: dict[str, Any]) -> bool:
    return any(mark in str(entry.get("marker", "")) for mark in ("extra ==", "extra=="))


def _different(data: dict[str, Any], wanted: list[str], entries: list[dict[str, Any]]) -> list[str]:
    """Names that only one side has; else those whose versions or extras clearly differ."""
    texts, locked = _by_name((_name_of(text), text) for text in wanted), _by_name(_named(entries))
    if texts.keys() != locked.keys():
        return sorted(texts.keys() ^ locked.keys())
    uv = _table(_table(data.get("tool")).get("uv"))
    sources = {normalised(name) for name in _table(uv.get("sources"))}
    found = []
    for name in sorted(texts.keys() - sources):
        if len(texts[name]) == len(locked[name]) == 1:
            now, then = _terms(texts[name][0]), _terms_of_entry(locked[name][0])
            if now is not None and then is not None and now != then:
                found.append(name)
    return found


def _by_name(pairs: Iterable[tuple[str, _Entry]]) -> dict[str, list[_Entry]]:
    found: dict[str, list[_Entry]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def _named(entries: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    return [(normalised(str(entry.get("name", ""))), entry) for entry in entries]


def _name_of(requirement: str) -> str:
    match = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", requirement)
    return normalised(match[1]) if match else ""


def _terms(requirement: str) -> _Terms | None:
    """Of a requirement as pyproject.toml has it; None when it is an address, or too unusual."""
    match = _REQUIREMENT.fullmatch(requirement[:_MOST_TEXT].partition(";")[0])
    clauses = _clauses(match[3]) if match and len(requirement) <= _MOST_TEXT else None
    if match is None or clauses is None:
        return None
    return frozenset(
        normalised(name.strip()) for name in (match[2] or "").split(",") if name.strip()
    ), clauses


def _terms_of_entry(entry: dict[str, Any]) -> _Terms | None:
    """Of a requirement as uv.lock has it; None when it comes from an address or a folder."""
    if entry.keys() - {"name", "specifier", "extras", "marker"}:
        return None
    clauses = _clauses(str(entry.get("specifier", "")))
    if clauses is None:
        return None
    return frozenset(normalised(str(name)) for name in _list(entry.get("extras"))), clauses


def _clauses(text: str) -> frozenset[tuple[str, str]] | None:
    """Pairs of operator and version, zeros at the ends left out; None for what is no plain number."""
    parts = [part for part in re.sub(r"\s", "", text[:_MOST_TEXT]).split(",") if part]
    matches = [_CLAUSE.fullmatch(part) for part in parts]
    if len(text) > _MOST_TEXT or None in matches:
        return None
    return frozenset((match[1], _plain(match[2])) for match in matches if match)


def _plain(version: str) -> str:
    """A version without zeros that say nothing: 08.1.0 is 8.1."""
    wild = version.endswith(".*")
    numbers = ".".join(str(int(part)) for part in version.removesuffix(".*").split("."))
    return numbers + ".*" if wild else re.sub(r"(\.0)+$", "", numbers)


def _other_pythons(recorded: str, wanted: str) -> bool:
    """Whether two ranges of Python clearly differ: uv writes the one in pyproject.toml down in other words."""
    then, now = _range(recorded), _range(wanted)
    if then is None or now is None:
        return False
    return then[0] != now[0] or (bool(then[1] and now[1]) and then[1] != now[1])


def _range(text: str) -> tuple[_Bound, _Bound] | None:
    """The lower and upper bound, the latter empty if there is none; None for any other shape."""
    clauses = _clauses(text)
    lows = [_numbers(version) for operator, version in clauses or () if operator == ">="]
    highs = [_numbers(version) for operator, version in clauses or () if operator == "<"]
    if clauses is None or not lows or len(lows) + len(highs) != len(clauses):
        return None
    return max(lows), min(highs, default=())


def _numbers(version: str) -> _Bound:
    return tuple(int(part) for part in version.removesuffix(".*").split("."))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

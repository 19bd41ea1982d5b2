"""Lock files of Poetry, Pipenv and PDM as requirements with digests, for uv: exactly the locked versions, without
development groups. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from buildpacks.plan import BuildRefused, Tree, quoted, read_text
from buildpacks.requirements import normalised
from buildpacks.toml import toml_of

RELOCK = {"poetry.lock": "poetry lock", "Pipfile.lock": "pipenv lock", "pdm.lock": "pdm lock"}
_DECLARES = {"poetry.lock": "pyproject.toml", "Pipfile.lock": "Pipfile", "pdm.lock": "pyproject.toml"}
_EXPORT = {
    "poetry.lock": "poetry export -f requirements.txt -o requirements.txt",
    "Pipfile.lock": "pipenv requirements > requirements.txt",
    "pdm.lock": "pdm export -o requirements.txt",
}
_VERSION = re.compile(r"[A-Za-z0-9.!+_-]{1,100}")
_DIGEST = re.compile(r"sha(?:256|384|512):[0-9a-f]{64,128}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_INDEX = re.compile(r"https?://[^\s\"'\\]{1,500}")
_MOST_CONDITIONS = 8


@dataclass(frozen=True)
class Locked:
    """`text` is a requirements file in which each version is pinned and has its digests."""

    text: str
    names: frozenset[str]
    declared: dict[str, Any]
    """The file that the lock was made from, parsed."""
    warnings: tuple[str, ...] = ()
    variables: bool = False
    """An index address takes in config vars, which the packages then depend on."""


def read_lock(tree: Tree, path: str) -> Locked:
    """Raises BuildRefused: an unreadable lock, one that lacks a dependency, or a package without digests."""
    beside = _DECLARES[path]
    if not tree.exists(beside):
        raise BuildRefused(f"{path} is there without {beside}.", f"Commit {beside}, too.")
    declared = _parsed(tree, beside)
    lock = _parsed(tree, path)
    read = {"poetry.lock": _poetry, "Pipfile.lock": _pipenv, "pdm.lock": _pdm}[path]
    lines, names, indexes = [], set(), dict.fromkeys(_indexes(path, lock))
    for package, marker in read(lock, declared):
        lines.append(_line(path, package, marker))
        names.add(normalised(str(package["name"])))
    missing = sorted(_direct(path, declared) - names)
    if missing:
        raise BuildRefused(
            f"{path} does not fit {beside} (missing: {', '.join(missing[:5])}).",
            f"Run {RELOCK[path]} and commit the result.",
        )
    stale = not _fresh(path, lock, declared)
    warnings = (f"{path} was not made from this {beside}: run {RELOCK[path]}",) if stale else ()
    head = [f"--extra-index-url {index}" for index in indexes]
    text = "\n".join([*head, *lines, ""])
    return Locked(text, frozenset(names), declared, warnings, any("$" in index for index in indexes))


def _parsed(tree: Tree, path: str) -> dict[str, Any]:
    text = read_text(tree, path, 8 << 20)
    try:
        data = json.loads(text) if path == "Pipfile.lock" else toml_of(text)
    except (ValueError, RecursionError) as error:
        raise BuildRefused(f"{path}: {error or 'is nested too deeply'}.") from None
    return _table(data)


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _packages(lock: dict[str, Any]) -> list[dict[str, Any]]:
    return [item for item in _list(lock.get("package")) if isinstance(item, dict) and "name" in item]


def _line(path: str, package: dict[str, Any], marker: str) -> str:
    name, version = str(package["name"]), str(package.get("version", "")).removeprefix("==")
    source = _table(package.get("source")).get("type", "legacy")
    direct = [key for key in ("git", "url", "path", "file", "editable") if package.get(key)]
    if source not in ("legacy", "pypi") or direct:
        raise BuildRefused(
            f"{path}: {quoted(name)} does not come from a package index, so no digest says what it is.",
            f"Commit a requirements.txt in place of the lock: {_EXPORT[path]}",
        )
    digests = [item.get("hash") if isinstance(item, dict) else item for item in _list(package.get("files"))]
    digests += _list(package.get("hashes"))
    good = sorted({item for item in digests if isinstance(item, str) and _DIGEST.fullmatch(item)})
    if not _NAME.fullmatch(name) or not _VERSION.fullmatch(version) or not good:
        raise BuildRefused(
            f"{path}: {quoted(name)} has no version or no digests.",
            f"Run {RELOCK[path]} and commit the result.",
        )
    if not marker.isprintable() or "#" in marker:
        raise BuildRefused(f'{path}: {quoted(name)} has the marker "{quoted(marker)}", which cannot be read.')
    return (
        f"{name}=={version}"
        + (f" ; {marker}" if marker else "")
        + "".join(f" --hash={item}" for item in good)
    )


def _indexes(path: str, lock: dict[str, Any]) -> Iterator[str]:
    """Addresses of the package indexes that a lock names besides PyPI."""
    sources = _list(_table(lock.get("_meta")).get("sources"))
    if path != "Pipfile.lock":
        sources = [_table(package.get("source")) for package in _packages(lock)]
    for source in sources:
        url = str(_table(source).get("url", ""))
        if _INDEX.fullmatch(url) and url.rstrip("/") not in (
            "https://pypi.org/simple",
            "https://pypi.python.org/simple",
        ):
            yield url


def _pipenv(lock: dict[str, Any], declared: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    for name, entry in sorted(_table(lock.get("default")).items()):
        yield {**_table(entry), "name": name}, str(_table(entry).get("markers", ""))


def _pdm(lock: dict[str, Any], declared: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    seen = set()
    if "inherit_metadata" not in _list(_table(lock.get("metadata")).get("strategy")):
        raise BuildRefused(
            "pdm.lock does not say which groups its packages belong to.",
            "Run pdm lock --strategy inherit_metadata and commit the result.",
        )
    for package in _packages(lock):
        key = (package["name"], package.get("version"), package.get("marker"))
        if "default" in _list(package.get("groups")) and key not in seen:
            seen.add(key)  # a package with extras is listed a second time
            yield package, str(package.get("marker", ""))


def _poetry(lock: dict[str, Any], declared: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    packages = _packages(lock)
    old_files = _table(_table(lock.get("metadata")).get("files"))
    if all("groups" in package for package in packages):
        for package in packages:
            marker = package.get("markers", "")
            if "main" in _list(package["groups"]) and not package.get("optional"):
                yield package, str(marker.get("main", "") if isinstance(marker, dict) else marker)
        return
    wanted = _reached(packages, _poetry_main(declared))
    for package in packages:
        conditions = wanted.get(normalised(str(package["name"])))
        if conditions is not None:
            files = package.get("files") or old_files.get(package["name"])
            yield {**package, "files": files}, _any_of(conditions)


_Conditions = set[frozenset[str]]


def _reached(packages: list[dict[str, Any]], roots: dict[str, str]) -> dict[str, _Conditions]:
    """What the roots need, and when: the markers on each way to a package. Locks of Poetry 1 do not say it."""
    edges: dict[str, list[tuple[str, str]]] = {}
    for package in packages:
        mine = edges.setdefault(normalised(str(package["name"])), [])
        for name, rule in _table(package.get("dependencies")).items():
            for one in rule if isinstance(rule, list) else [rule]:
                mine.append((normalised(name), str(_table(one).get("markers", ""))))
    found: dict[str, _Conditions] = {}
    waiting = [(name, frozenset({marker} - {""})) for name, marker in roots.items()]
    while waiting:
        name, way = waiting.pop()
        known = found.setdefault(name, set())
        if any(other <= way for other in known):
            continue
        if len(known) >= _MOST_CONDITIONS:
            way = frozenset()
        known.difference_update({other for other in known if way <= other})
        known.add(way)
        waiting += [(inner, way | ({marker} - {""})) for inner, marker in edges.get(name, ())]
    return {name: ways for name, ways in found.items() if name in edges}


def _any_of(ways: _Conditions) -> str:
    if frozenset() in ways:
        return ""
    return " or ".join(sorted("(" + " and ".join(f"({mark})" for mark in sorted(way)) + ")" for way in ways))


def _poetry_main(declared: dict[str, Any]) -> dict[str, str]:
    """The project's own dependencies that are no extras, each with its marker."""
    poetry = _table(_table(declared.get("tool")).get("poetry"))
    found: dict[str, str] = {}
    for name, rule in _table(poetry.get("dependencies")).items():
        if normalised(name) != "python" and not _table(rule).get("optional"):
            found[normalised(name)] = str(_table(rule).get("markers", ""))
    for text in _list(_table(declared.get("project")).get("dependencies")):
        match = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", str(text))
        if match:
            found[normalised(match[1])] = str(text).partition(";")[2].strip()
    return found


def _direct(path: str, declared: dict[str, Any]) -> set[str]:
    """The names that must be in the lock."""
    if path == "Pipfile.lock":
        return {normalised(name) for name in _table(declared.get("packages"))}
    return {name for name, marker in _poetry_main(declared).items() if not marker}


def _fresh(path: str, lock: dict[str, Any], declared: dict[str, Any]) -> bool:
    """Whether the lock's own digest is that of the file it was made from; true where the tool's rule is unknown."""
    if path == "pdm.lock":
        return True
    if path == "Pipfile.lock":
        recorded = _table(_table(lock.get("_meta")).get("hash")).get("sha256")
        meta = {"sources": declared.get("source", []), "requires": declared.get("requires", {})}
        data = {
            "_meta": meta,
            "default": declared.get("packages", {}),
            "develop": declared.get("dev-packages", {}),
        }
        known = {"source", "requires", "packages", "dev-packages", "scripts", "pipenv", "default", "develop"}
        data |= {name: value for name, value in declared.items() if name not in known}
        return (
            recorded is None or "source" not in declared or recorded == _sha256(data, separators=(",", ":"))
        )
    poetry, project = _table(_table(declared.get("tool")).get("poetry")), _table(declared.get("project"))
    recorded = _table(lock.get("metadata")).get("content-hash")
    if project or "dependency-groups" in declared or recorded is None:
        return True
    legacy = ("dependencies", "source", "extras", "dev-dependencies")
    ours = {key: poetry.get(key) for key in legacy}
    if "group" in poetry:
        ours["group"] = poetry["group"]
    return bool(recorded == _sha256(ours))


def _sha256(data: object, separators: tuple[str, str] = (", ", ": ")) -> str:
    return hashlib.sha256(
        json.dumps(data, sort_keys=True, separators=separators, default=str).encode()
    ).hexdigest()

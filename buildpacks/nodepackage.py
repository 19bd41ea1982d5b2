"""What the package.json files and the lock of a Node app say. Pure."""

from __future__ import annotations

import json
import posixpath
import re
from dataclasses import dataclass
from typing import Any

from buildpacks.plan import BuildRefused, Tree, read_text

INSTALL_SCRIPTS = ("preinstall", "install", "postinstall", "prepare")
MAX_MEMBERS = 300
"""Package files of a workspace that are read; a larger one is installed over its whole source."""
_COMPILING = re.compile(
    r"(?:node-gyp|node-gyp-build|prebuild-install|node-pre-gyp|node-addon-api|bindings|nan)@"
)
"""Packages that others use to compile, as locks write them that do not say which package has an install script."""


@dataclass(frozen=True)
class Package:
    """`members` are the package files below the root, of a workspace; `own_scripts` the install scripts of the app by
    folder, which wait for its source."""

    data: dict[str, Any]
    scripts: dict[str, str]
    main: str
    dev: bool
    local: bool
    members: tuple[str, ...]
    own_scripts: tuple[tuple[str, str], ...]

    @property
    def wanted(self) -> dict[str, str]:
        """The root's dependencies of each kind, with what it asks of them."""
        return _wanted(self.data)


def read_package(tree: Tree) -> Package:
    """Raises BuildRefused naming what is wrong."""
    data = read_json(tree, "package.json")
    workspace = "workspaces" in data or tree.exists("pnpm-workspace.yaml")
    members = _members(tree) if workspace else ()
    known = {"": data} | {posixpath.dirname(path): _member(tree, path) for path in members}
    wanted = {name: spec for each in known.values() for name, spec in _wanted(each).items()}
    root = _wanted(data)
    _check_folders(tree, root)
    local = any(
        spec.startswith(("file:", "link:", "portal:", "patch:", ".", "/")) for spec in wanted.values()
    )
    local = local or any("bin" in each for folder, each in known.items() if folder) or _patches(tree, data)
    local = local or (workspace and not members)
    scripts = {folder: texts(each.get("scripts"), "scripts") for folder, each in known.items()}
    own = [(folder, name) for folder, each in scripts.items() for name in INSTALL_SCRIPTS if name in each]
    main = data.get("main") or data.get("module")
    return Package(
        data=data,
        scripts=scripts[""],
        main=main
        if isinstance(main, str) and main.isprintable() and len(main) < 200 and not main.startswith("-")
        else "",
        dev=any(each.get("devDependencies") for each in known.values()),
        local=local,
        members=members,
        own_scripts=tuple(sorted(own, key=lambda entry: entry[0] == "")),
    )


def has_dependencies(package: Package) -> bool:
    return bool(package.wanted) or bool(package.members)


def lock_facts(tree: Tree, lock: str | None, package: Package) -> tuple[bool, bool]:
    """Whether digests alone decide what is installed, and whether a package runs an install script."""
    if lock is None:
        return False, has_dependencies(package)
    if not lock.endswith(".json"):
        return False, bool(
            _COMPILING.search(read_text(tree, lock, 64 << 20))
        ) if lock != "bun.lockb" else True
    packages = read_json(tree, lock).get("packages")
    if not isinstance(packages, dict):
        return False, True
    entries = [entry for path, entry in packages.items() if path and isinstance(entry, dict)]
    pinned = all("integrity" in entry or entry.get("inBundle") for entry in entries)
    root = packages.get("")
    fits = isinstance(root, dict) and _wanted(root) == package.wanted
    return pinned and fits, any(entry.get("hasInstallScript") for entry in entries)


def _members(tree: Tree) -> tuple[str, ...]:
    """Every package file below the root: one that is no member does not change what is installed."""
    found = [name for name in tree.names() if name.endswith("/package.json") and "node_modules/" not in name]
    return tuple(sorted(found)) if len(found) <= MAX_MEMBERS else ()


def _member(tree: Tree, path: str) -> dict[str, Any]:
    """A package file below the root, as far as it can be read: the manager judges its members itself."""
    try:
        data = read_json(tree, path)
        texts(data.get("scripts"), "scripts")
        _wanted(data)
    except BuildRefused:
        return {}
    return data


def _patches(tree: Tree, data: dict[str, Any]) -> bool:
    """Whether the manager reads more files of the source than package files."""
    pnpm = data.get("pnpm")
    patched = isinstance(pnpm, dict) and "patchedDependencies" in pnpm
    return patched or any(
        name.startswith((".yarn/plugins/", ".yarn/patches/", "patches/")) for name in tree.names()
    )


def _wanted(data: dict[str, Any]) -> dict[str, str]:
    groups = ("dependencies", "optionalDependencies", "devDependencies")
    return {name: spec for group in groups for name, spec in texts(data.get(group), group).items()}


def _check_folders(tree: Tree, wanted: dict[str, str]) -> None:
    """npm links a folder that is missing without a word, and the app fails when it starts."""
    for name, spec in wanted.items():
        path = posixpath.normpath(spec.removeprefix("file:").removeprefix("link:"))
        if spec.startswith(("file:", "link:")) and not (
            tree.exists(path) or path == "." or any(file.startswith(f"{path}/") for file in tree.names())
        ):
            raise BuildRefused(
                f"package.json: {name} is at {spec}, which is not in the repository.",
                "Commit that folder, or take the line out.",
            )


def read_json(tree: Tree, path: str) -> dict[str, Any]:
    """Raises BuildRefused naming line and column."""
    text = read_text(tree, path, 16 << 20)
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"{path} line {error.lineno}, column {error.colno}"
        raise BuildRefused(f"{where}: {error.msg}.", "It must be JSON, without comments.") from None
    except (RecursionError, ValueError):
        raise BuildRefused(f"{path} is not JSON that can be read.") from None
    if not isinstance(data, dict):
        raise BuildRefused(f"{path} is not a JSON object.")
    return data


def texts(value: object, key: str) -> dict[str, str]:
    """A part of package.json that maps names to texts. Raises BuildRefused."""
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise BuildRefused(f"package.json: {key} is not an object of texts.")
    return value

"""`project.toml`, the project descriptor of Cloud Native Buildpacks: what it says of buildpacks, and what theirs read of it. Pure."""

from __future__ import annotations

import re
from shlex import quote
from typing import Any

from buildpacks.plan import BuildRefused, Tree, quoted, read_text
from buildpacks.toml import toml_of

PROJECT = "project.toml"
_PROCFILE = re.compile(r"(?:^|/)procfile$")
"""A buildpack that only reads the Procfile, as is done here for every app."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_API = re.compile(r"[0-9]{1,3}\.[0-9]{1,3}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")


def section(tree: Tree, *keys: str) -> Any:
    """What lies at these keys; an empty table if nothing does. Raises BuildRefused."""
    if not tree.exists(PROJECT):
        return {}
    try:
        found: Any = toml_of(read_text(tree, PROJECT, 65536))
    except ValueError as error:
        raise BuildRefused(f"{PROJECT} is not TOML: {quoted(str(error), 120)}.") from None
    for key in keys:
        found = found.get(key, {}) if isinstance(found, dict) else {}
    return found


def listed(tree: Tree) -> tuple[str, ...]:
    """The buildpacks that it asks for, as app.json would name them: addresses, ids, and `project.toml#N` for the script of the
    Nth. Several ids alone are nothing that it decides: the files do. Raises BuildRefused."""
    rows = [row for row in _rows(tree) if not _PROCFILE.search(str(row.get("id", "")))]
    names = tuple(_name(row) for row in rows)
    only_ids = [row for row in rows if not row.get("uri") and not isinstance(row.get("script"), dict)]
    return () if len(only_ids) == len(rows) > 1 else names


def _rows(tree: Tree) -> list[dict[str, Any]]:
    rows = section(tree, "io", "buildpacks", "group") or section(tree, "build", "buildpacks")
    found = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return [{**row, "number": number} for number, row in enumerate(found, 1)]


def _name(row: dict[str, Any]) -> str:
    if isinstance(row.get("script"), dict):
        return f"{PROJECT}#{row['number']}"
    return str(row.get("uri") or row.get("id") or "")


def script(tree: Tree, name: str, folder: str) -> str:
    """Commands that write the buildpack whose script stands in the file to `folder`; empty for another name. Raises BuildRefused."""
    row = next((row for row in _rows(tree) if name == f"{PROJECT}#{row['number']}"), None)
    about = row.get("script") if row else None
    if row is None or not isinstance(about, dict):
        return ""
    id, api, inline = str(row.get("id", "inline")), str(about.get("api", "")), about.get("inline")
    if not isinstance(inline, str) or not _API.fullmatch(api) or not _ID.fullmatch(id):
        raise BuildRefused(
            f"{PROJECT}: the script of buildpack {row['number']} is not complete.",
            'Write id = "team/name" and script = { api = "0.10", inline = "COMMANDS" }.',
        )
    toml = f'api = "{api}"\n[buildpack]\nid = "{id}"\nversion = "0.0.0"\n'
    program = f"#!{about.get('shell') or '/bin/sh'}\n{inline}"
    files = {"buildpack.toml": toml, "bin/detect": "#!/bin/sh\n", "bin/build": program}
    lines = [
        f"mkdir -p {folder}/bin",
        *(f"printf %s {quote(text)} >{folder}/{path}" for path, text in files.items()),
    ]
    return "\n".join(lines)


def variables(tree: Tree) -> dict[str, str]:
    """Variables for the build, below the app's config vars."""
    rows = section(tree, "io", "buildpacks", "build", "env") or section(tree, "build", "env")
    pairs = (
        [(row.get("name"), row.get("value")) for row in rows if isinstance(row, dict)]
        if isinstance(rows, list)
        else []
    )
    return {name: str(value) for name, value in pairs if isinstance(name, str) and _VARIABLE.fullmatch(name)}

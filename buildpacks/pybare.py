"""Python programs and MkDocs sites without a file that says what to install: they are built when that can be told from
what they import. Pure."""

from __future__ import annotations

import ast
import re
import sys
from contextlib import suppress

from buildpacks.plan import Tree, quoted

_MOST_FILES, _MOST_BYTES = 30, 256 << 10
MKDOCS = "mkdocs.yml"


def bare(tree: Tree) -> tuple[str, str] | None:
    """The file that tells what this is, and the requirements that its author did not write; None when they cannot be told."""
    if tree.exists(MKDOCS):
        theme = re.search(rb"\bname:[ \t]*['\"]?material\b", _read(tree, MKDOCS))
        return MKDOCS, "mkdocs-material\n" if theme else "mkdocs<2\n"
    programs = _programs(tree)
    return (programs[0], "") if programs and not imported(tree) else None


def imported(tree: Tree) -> list[str]:
    """The modules that the programs at the root import, and neither Python nor the repository brings."""
    found: dict[str, None] = {}
    for path in _programs(tree)[:_MOST_FILES]:
        with suppress(SyntaxError, ValueError, RecursionError, MemoryError):
            for node in ast.walk(ast.parse(_read(tree, path))):
                if isinstance(node, ast.Import):
                    found |= dict.fromkeys(alias.name.split(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    found[node.module.split(".")[0]] = None
    own = {
        re.sub(r"(?:\.py|/.*)$", "", name, flags=re.DOTALL) for name in tree.names() if name.endswith(".py")
    }
    return sorted(name for name in found if name not in sys.stdlib_module_names and name not in own)


def unreadable(tree: Tree, path: str) -> str:
    """Why Python cannot parse the program at `path`, as a sentence with its line; empty when it can."""
    with suppress(ValueError, RecursionError, MemoryError):
        try:
            ast.parse(_read(tree, path))
        except SyntaxError as error:
            if error.lineno:
                return f"Python cannot read line {error.lineno} of {path}: {quoted(error.msg)}."
    return ""


def _programs(tree: Tree) -> list[str]:
    return sorted(name for name in tree.names() if re.fullmatch(r"[A-Za-z0-9_-]+\.py", name))


def _read(tree: Tree, path: str) -> bytes:
    try:
        return tree.read(path, _MOST_BYTES)
    except (FileNotFoundError, ValueError):
        return b""

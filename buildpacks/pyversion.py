"""Which Python an app asks for, and whether the stack's is the one. Pure."""

from __future__ import annotations

import re

from buildpacks.plan import BuildRefused, Tree, quoted, read_text

STACK_PYTHON = (3, 11, 2)
_MINOR = f"{STACK_PYTHON[0]}.{STACK_PYTHON[1]}"
_SPECIFIER = re.compile(r"(>=|<=|==|!=|~=|>|<)\s*(\d+(?:\.\d+)*)(\.\*)?")


def python_version(tree: Tree) -> tuple[str, tuple[str, ...]]:
    """A note on the Python that is used, and warnings.

    `.python-version` counts before `runtime.txt`. Raises BuildRefused when the stack has not the one asked for.
    """
    for path in (".python-version", "runtime.txt"):
        if tree.exists(path):
            return _from_file(path, read_text(tree, path, 4096))
    return f"Using Python {_MINOR} (the stack's; a .python-version file pins it)", ()


def _from_file(path: str, text: str) -> tuple[str, tuple[str, ...]]:
    lines = [line.strip() for line in text.splitlines()]
    asked = [line for line in lines if line and not line.startswith("#")]
    if len(asked) != 1:
        raise BuildRefused(f"{path} has {len(asked)} version lines.", f"Write one version into it: {_MINOR}")
    version = asked[0].strip("\"'").lower().removeprefix("cpython-").removeprefix("python-").removeprefix("v")
    match = re.fullmatch(r"(\d+)(?:\.(\d+))?(?:\.(\d+|\*))?", version)
    if match is None:
        raise BuildRefused(
            f'{path}: "{quoted(asked[0], 40)}" is not a Python version.', f"Write {_MINOR} into it."
        )
    if match[1] != "3" or match[2] not in (None, str(STACK_PYTHON[1])):
        raise BuildRefused(
            f"{path} asks for Python {version}; stack debian-12 has Python {_MINOR}.",
            f"Write {_MINOR} into {path}, or remove the file.",
        )
    warnings: tuple[str, ...] = ()
    patch = match[3]
    if patch not in (None, "*", str(STACK_PYTHON[2])):
        full = ".".join(map(str, STACK_PYTHON))
        warnings = (f"{path} asks for Python {version}; the stack's patch release is {full}",)
    return f"Using Python {_MINOR} (from {path})", warnings


def check_requires_python(specifier: str, where: str) -> None:
    """Raises BuildRefused when `specifier` (as in pyproject.toml) leaves the stack's Python out."""
    for part in specifier.split(","):
        if not part.strip():
            continue
        match = _SPECIFIER.fullmatch(part.strip())
        if match is None:
            raise BuildRefused(
                f'{where}: requires-python "{quoted(specifier, 40)}" is not a version specifier.'
            )
        if not _allows(match[1], tuple(map(int, match[2].split("."))), bool(match[3])):
            raise BuildRefused(
                f'{where} requires Python "{quoted(specifier, 40)}"; stack debian-12 has Python {_MINOR}.',
                "Widen requires-python when the app runs there.",
            )


def _allows(operator: str, wanted: tuple[int, ...], wildcard: bool) -> bool:
    have = STACK_PYTHON
    if operator == "~=":
        return have[: len(wanted)] >= wanted and have[: len(wanted) - 1] == wanted[:-1]
    if operator in ("==", "!="):
        padded = wanted if wildcard else wanted + (0,) * (3 - len(wanted))
        return (have[: len(padded)] == padded) == (operator == "==")
    padded = wanted + (0,) * (3 - len(wanted))
    return {">=": have >= padded, "<=": have <= padded, ">": have > padded, "<": have < padded}[operator]

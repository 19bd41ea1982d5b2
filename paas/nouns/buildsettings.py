"""What people set for the builds of an app: where in the repository it lies, what builds it, its Procfile. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from paas.nouns.errors import BadInput
from paas.nouns.names import shown

_PATH_CHARACTERS = 1000


@dataclass(frozen=True)
class BuildSetting:
    name: str
    default: str
    sentence: str


SETTINGS = (
    BuildSetting(
        "root", ".", "the folder of the repository that is the app; nothing outside of it is built."
    ),
    BuildSetting(
        "builder", "auto", "the buildpack that builds the app, like dockerfile; auto: its files decide."
    ),
    BuildSetting("procfile", "Procfile", "the path of the Procfile in that folder."),
    BuildSetting(
        "dockerfile", "Dockerfile", "the path of the Dockerfile in that folder, which then builds the app."
    ),
    BuildSetting("target", "the last", "the stage of the Dockerfile that becomes the image."),
)
DEFAULTS = {row.name: row.default for row in SETTINGS}


def changed(settings: Mapping[str, str], changes: Mapping[str, str]) -> dict[str, str]:
    """The settings after a change; an empty value takes one back to its default. Raises BadInput."""
    found = dict(settings)
    for name, text in changes.items():
        found[name] = _PARSERS.get(name, tree_path)(text)
        if found[name] in ("", DEFAULTS[name]):
            del found[name]
    return found


def builder(settings: Mapping[str, str]) -> str:
    """The buildpack that people chose; a Dockerfile of theirs chooses its own. Empty: the files decide."""
    named = "dockerfile" in settings or "target" in settings
    return settings.get("builder", "dockerfile" if named else "")


def _stage(text: str) -> str:
    if text and not re.fullmatch(r"[A-Za-z][A-Za-z0-9._-]{0,99}", text):
        raise BadInput(f"{shown(text)} is not the name of a stage.", "Write it as in FROM … AS NAME.")
    return text.lower()


_PARSERS: dict[str, Callable[[str], str]] = {"builder": str.lower, "target": _stage}


def tree_path(text: str) -> str:
    """A path inside a git tree, without `.` and doubled or outer slashes; empty for the tree itself. Raises BadInput."""
    parts = [part for part in text.split("/") if part not in ("", ".")]
    odd = [part for part in parts if part == ".." or part.lower() == ".git"]
    if odd or text.startswith("/") or not text.isprintable() or len(text) > _PATH_CHARACTERS:
        raise BadInput(
            f"{shown(text)} is not a path in the repository.",
            "It must be relative to the top of the repository and stay in it, like services/api.",
        )
    return "/".join(parts)

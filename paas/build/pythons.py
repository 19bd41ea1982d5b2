"""The Pythons that builds can have on this machine: those of stacks, made or not yet, and those that uv can fetch."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import urllib.request
from collections.abc import Collection, Sequence
from typing import Any

from buildpacks.pyversion import Download, Pythons
from paas.build import registry as registries
from runtime.home import Layout
from runtime.stack import build as stacks
from runtime.stack.build import RECIPES

_log = logging.getLogger("publish")
_KEY = re.compile(rf"cpython-(3\.\d{{1,3}}\.\d{{1,3}})-linux-{os.uname().machine}-gnu")
_PACKAGE = re.compile(r"python(3\.\d+)-minimal (?:\d+:)?(3\.\d+\.\d+)\D.*")
_DEFAULT = re.compile(r"python3 (?:\d+:)?(3\.\d+)\.\D?.*")
_LIST_BYTES, _TIMEOUT_S = 16 << 20, 10


def available(layout: Layout, stack: str, chosen: str = "", without: Collection[str] = ()) -> Pythons:
    """What an app on `stack` may be built with. A stack that its app.json has `chosen` counts, if there is such a one, and
    no other is taken then. The stacks `without` cannot be had."""
    return Pythons(
        stack=chosen if chosen in RECIPES else stack,
        fixed=chosen in RECIPES,
        of_stacks={
            name: pythons_in(made.packages) if (made := stacks.load(layout.stacks, name)) else recipe.pythons
            for name, recipe in RECIPES.items()
            if name not in without
        },
        fetched={release: Download(**python) for release, python in registries.load(layout).pythons.items()},
    )


def pythons_in(packages: Sequence[str]) -> tuple[str, ...]:
    """The releases of Python in a stack of these packages (`NAME VERSION`), the suite's default first."""
    found = {match[1]: match[2] for match in map(_PACKAGE.fullmatch, packages) if match}
    default = next((match[1] for match in map(_DEFAULT.fullmatch, packages) if match), "")
    return tuple(
        found[minor] for minor in sorted(found, key=lambda minor: (minor != default, len(minor), minor))
    )


def fetchable(uv: str, list_url: str) -> dict[str, dict[str, str]]:
    """The final releases of CPython for this machine: of the operator's list, else of uv's own. None without uv, or when
    the list cannot be read, which the server's log then says."""
    if not uv:
        return {}
    if not list_url:
        return {match[1]: {"key": match[0]} for match in map(_KEY.fullmatch, _known_to(uv)) if match}
    try:
        with urllib.request.urlopen(list_url, timeout=_TIMEOUT_S) as answer:
            entries = json.loads(answer.read(_LIST_BYTES))
        return {
            match[1]: {"key": match[0], "entry": json.dumps(entry, sort_keys=True)}
            for key, entry in entries.items()
            if (match := _KEY.fullmatch(key))
            and isinstance(entry.get("sha256"), str)
            and not entry.get("prerelease")
        }
    except (OSError, ValueError, AttributeError) as error:
        _log.warning("event=no-python-list url=%s error=%s", list_url.rpartition("@")[2], error)
        return {}


def url_of(python: dict[str, str]) -> str:
    """Where the operator's list says that a Python is; empty for those of uv's own."""
    return str(json.loads(python.get("entry") or "{}").get("url", ""))


def _known_to(uv: str) -> list[str]:
    command = [
        uv,
        "python",
        "list",
        "--only-downloads",
        "--all-versions",
        "--no-config",
        "--output-format",
        "json",
    ]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=True, cwd="/")
        listed: list[dict[str, Any]] = json.loads(done.stdout)
        return [str(item["key"]) for item in listed]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError):
        return []

"""How layers change the environment of what comes after them, in a build and before each process."""

from __future__ import annotations

import os
import re
from collections.abc import MutableMapping, Sequence

PATHS = ("PATH", "LD_LIBRARY_PATH", "LIBRARY_PATH", "CPATH", "PKG_CONFIG_PATH")
_FOLDERS = (
    ("bin", ("PATH",)),
    ("lib", ("LD_LIBRARY_PATH", "LIBRARY_PATH")),
    ("include", ("CPATH",)),
    ("pkgconfig", ("PKG_CONFIG_PATH",)),
)
_AT_LAUNCH = ("PATH", "LD_LIBRARY_PATH")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MOST_BYTES = 128 * 1024
"""The kernel takes no longer variable."""

Env = MutableMapping[str, str]


def add_layers(env: Env, layers: Sequence[str], changes: Sequence[str], *, launch: bool = False) -> None:
    """What one buildpack's layers change, sorted by name: their folders of programs and libraries, then the files in
    `changes`, which are folders of each layer."""
    for layer in reversed(layers):
        for folder, names in _FOLDERS:
            path = os.path.join(layer, folder)
            if os.path.isdir(path):
                for name in _AT_LAUNCH if launch else PATHS:
                    if name in names:
                        env[name] = f"{path}:{env[name]}" if env.get(name) else path
    for layer in layers:
        for folder in changes:
            _change(env, os.path.join(layer, folder))


def _change(env: Env, folder: str) -> None:
    """Each file is one change: NAME.ACTION, or NAME, which overrides."""
    for file in files(folder):
        name, _, action = os.path.basename(file).partition(".")
        if not _NAME.fullmatch(name):
            continue
        text, old = read_value(file), env.get(name, "")
        between = read_value(os.path.join(folder, f"{name}.delim")) if old else ""
        if action in ("", "override"):
            env[name] = text
        elif action == "default":
            env[name] = old or text
        elif action == "append":
            env[name] = old + between + text
        elif action == "prepend":
            env[name] = text + between + old


def files(folder: str) -> list[str]:
    """The regular files of a folder, sorted; none if there is no such folder."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [path for name in names if os.path.isfile(path := os.path.join(folder, name))]


def read_value(path: str) -> str:
    """A file as the value of a variable, every byte of it; empty if there is none."""
    try:
        with open(path, "rb") as file:
            return file.read(_MOST_BYTES).decode("utf-8", "surrogateescape").replace("\0", "")
    except OSError:
        return ""

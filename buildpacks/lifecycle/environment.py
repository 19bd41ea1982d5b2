"""How layers change the environment of what comes after them, in a build and before each process."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Change:
    """One variable and what becomes of it: `action` is override, default, append or prepend, with `between` the old and the new."""

    name: str
    action: str
    text: str
    between: str = ""

    def apply(self, env: Env) -> None:
        old = env.get(self.name, "")
        between = self.between if old else ""
        if self.action == "append":
            env[self.name] = old + between + self.text
        elif self.action == "prepend":
            env[self.name] = self.text + between + old
        else:
            env[self.name] = old if old and self.action == "default" else self.text

    def shell(self) -> str:
        """The same as a line for bash."""
        name, text = self.name, shlex.quote(self.text)
        between = f"${{{name}:+{shlex.quote(self.between)}}}" if self.between else ""
        if self.action == "append":
            return f'export {name}="${{{name}-}}"{between}{text}\n'
        if self.action == "prepend":
            return f'export {name}={text}{between}"${{{name}-}}"\n'
        unless = f'[ -n "${{{name}-}}" ] || ' if self.action == "default" else ""
        return f"{unless}export {name}={text}\n"


def of_folders(layers: Sequence[str], *, launch: bool = False) -> list[Change]:
    """What the folders of programs and libraries change, of one buildpack's layers, sorted by name."""
    return [
        Change(name, "prepend", path, ":")
        for layer in reversed(layers)
        for folder, names in _FOLDERS
        if os.path.isdir(path := os.path.join(layer, folder))
        for name in names
        if not launch or name in _AT_LAUNCH
    ]


def of_files(folder: str) -> list[Change]:
    """What the files of a folder change: each is NAME.ACTION, or NAME, which overrides."""
    found = []
    for file in files(folder):
        name, _, action = os.path.basename(file).partition(".")
        if _NAME.fullmatch(name) and action in ("", "override", "default", "append", "prepend"):
            between = read_value(os.path.join(folder, f"{name}.delim"))
            found.append(Change(name, action or "override", read_value(file), between))
    return found


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

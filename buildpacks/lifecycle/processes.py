"""What `launch.toml` declares: process types and labels, as lines that the platform reads."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

from buildpacks.lifecycle.descriptor import Buildpack, Refused, for_production, read_toml, tables

WEB = "web"
_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_WORDS_ONLY = re.compile(r"[\w./=:,@%+ -]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SHELL_API_ENDS = (0, 9)


class Launch:
    """The processes of all buildpacks so far, the later one's when two have a name, and which one is the default."""

    def __init__(self) -> None:
        self.processes: dict[str, str] = {}
        self.labels: dict[str, str] = {}
        self._default = ""

    def read(self, pack: Buildpack, folder: Path) -> None:
        """Take in `launch.toml` of a buildpack. Raises Refused."""
        found = read_toml(folder / "launch.toml", f"the buildpack {pack}")
        for table in filter(for_production, tables(found.get("processes"))):
            type = str(table.get("type", "")).replace(".", "-")
            if not _TYPE.fullmatch(type):
                raise Refused(f"the process {type[:60]!r} of the buildpack {pack} is called as none may be")
            self.processes[type] = _command(pack, type, table)
            if table.get("default") is True:
                self._default = type
            elif self._default == type:
                self._default = ""
        for table in tables(found.get("labels")):
            key, value = (_CONTROL.sub(" ", str(table.get(name))) for name in ("key", "value"))
            self.labels[key] = value
        if tables(found.get("slices")):
            print(f"{pack} divides the app into slices; its layer stays whole here")

    def written(self) -> str:
        """`default_process_types` as `bin/release` of a classic buildpack prints them, and `labels` likewise."""
        processes = dict(self.processes)
        if WEB not in processes and self._default in processes:
            processes[WEB] = processes[self._default]
        return _section("default_process_types", processes) + _section("labels", self.labels)


def _section(name: str, lines: dict[str, str]) -> str:
    return f"{name}:\n" + "".join(f"  {key}: {text}\n" for key, text in lines.items()) if lines else ""


def _command(pack: Buildpack, type: str, table: dict[str, Any]) -> str:
    """The process as a line for bash. Up to API 0.8 a command is a line itself, unless it is direct; later it is words."""
    command, args, folder = table.get("command"), table.get("args", []), table.get("working-dir")
    words: list[Any] = command if isinstance(command, list) else [command]
    if not words or not isinstance(args, list) or not all(isinstance(word, str) for word in (*words, *args)):
        raise Refused(f"the process {type} of the buildpack {pack} has no command of words")
    if isinstance(command, list) is (pack.api < _SHELL_API_ENDS):
        raise Refused(
            f"the process {type} of the buildpack {pack} has a command as API {pack.api[0]}.{pack.api[1]} does not write it"
        )
    if pack.api < _SHELL_API_ENDS and table.get("direct") is not True:
        line = " ".join([*words, *map(_expanded, args)])
        line = f"exec bash -c {_word(line)}" if _CONTROL.search(line) else line
        return f"cd {shlex.quote(folder)} && {line}" if isinstance(folder, str) else line
    line = " ".join(map(_word, (*words, *args)))
    if isinstance(folder, str):
        return f"cd {_word(folder)} && exec {line}"
    return line if _WORDS_ONLY.fullmatch(line) else f"exec {line}"


def _word(text: str) -> str:
    """A word of the shell, in one line."""
    if not _CONTROL.search(text):
        return shlex.quote(text)
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + _CONTROL.sub(lambda one: f"\\x{ord(one[0]):02x}", escaped) + "'"


def _expanded(text: str) -> str:
    """A word in which the shell puts variables."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

"""Explains a shell's complaint about a command it could not run: which file, why, and what to do about it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

NOT_FOUND, NOT_EXECUTABLE = "command not found", "command not executable"

_SHELL = r"(?:\S*sh: (?:line )?(?:\d+: )?)"
_SAID = re.compile(
    rf"{_SHELL}(?:exec: )?(?P<what>[^:]+(?::[^ :][^:]*)*): (?:cannot execute: )?"
    r"(?P<why>command not found|not found|No such file or directory|Permission denied|Is a directory"
    r"|required file not found|cannot execute binary file: Exec format error)"
)
_ENV = re.compile(r"(?:/usr/bin/)?env: [‘'\"](?P<what>.+?)(?P<end>\\r)?[’'\"]: No such file or directory")
_FORMER = "Is its line ending that of Windows (CR LF)? Convert it: sed -i 's/\\r$//' {file}"


@dataclass(frozen=True)
class Unstartable:
    """`what` it is about, its cause class, the sentence, and the hint."""

    what: str
    cause: str
    message: str
    hint: str


def explain(command: str, status: int, lines: Iterable[str]) -> Unstartable:
    """Explain the exit status 126 or 127 of `command` (empty if unknown), from the lines it printed."""
    for line in reversed(list(lines)):
        if match := _SAID.fullmatch(line.strip()):
            return _said(match["what"], match["why"])
        if match := _ENV.fullmatch(line.strip()):
            return _interpreter(match["what"], windows=bool(match["end"]))
    words = command.split()
    if status == 126:
        what = words[0] if words else "the command"
        return Unstartable(what, NOT_EXECUTABLE, f"{what} cannot be executed.", "")
    return _missing(words[0] if words else "")


def _said(what: str, why: str) -> Unstartable:
    file = what.removeprefix("/app/").removeprefix("./")
    if why in ("command not found", "not found") and "/" not in what:
        return _missing(what)
    if why == "Permission denied":
        hint = f"Make it executable, commit, and push again: git update-index --chmod=+x {file}"
        return Unstartable(what, NOT_EXECUTABLE, f"{what} is not executable.", hint)
    if why == "Is a directory":
        return Unstartable(what, NOT_EXECUTABLE, f"{what} is a folder.", "Name the program in it.")
    if why == "required file not found":
        message = f"the interpreter that the first line of {what} names does not exist."
        return Unstartable(what, NOT_FOUND, message, _FORMER.format(file=file))
    if "Exec format" in why:
        message = f"{what} is neither a script nor a program for this machine."
        return Unstartable(what, NOT_EXECUTABLE, message, "Build it for Linux and this processor.")
    hint = f"Check the Procfile, and that {file} is committed: git ls-files {file}"
    return Unstartable(what, NOT_FOUND, f"there is no file {what}.", hint)


def _interpreter(name: str, *, windows: bool) -> Unstartable:
    if windows:
        message = f"the first line of a script asks for «{name}» with a line ending of Windows (CR LF)."
        return Unstartable(name, NOT_FOUND, message, "Convert it: sed -i 's/\\r$//' FILE")
    return _missing(name)


def _missing(name: str) -> Unstartable:
    if not name:
        return Unstartable("", NOT_FOUND, "a command was not found.", "Check the Procfile.")
    hint = f"Check the Procfile, and that the package which brings {name} is among the dependencies."
    return Unstartable(name, NOT_FOUND, f"command not found: {name}.", hint)

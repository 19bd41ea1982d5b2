"""The commands a client may run over SSH: git's two services and those of the CLI, by a strict grammar.

Pure. Nothing here, and nothing after it, is ever given to a shell.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Literal

from paas.cli.local import is_local
from paas.nouns.errors import BadInput
from paas.nouns.names import AppName, shown

Service = Literal["receive-pack", "upload-pack"]

_GIT = re.compile(r"git[- ](receive-pack|upload-pack) (?:'([^'\\]*)'|([^'\"\\\s]+))")
_WORD = re.compile(r"[a-z][a-z0-9-]*(:[a-z][a-z0-9-]*)*|--help|--version|-h")
_TERM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


@dataclass(frozen=True)
class GitCommand:
    """`git push` or `git fetch` of an app's repository."""

    service: Service
    app: AppName


@dataclass(frozen=True)
class CliCommand:
    """A command of `paas`, typed after `ssh paas@host`."""

    words: tuple[str, ...]


def parse(command: bytes, limit: int = 128 * 1024) -> GitCommand | CliCommand:
    """Parse an exec request. Raises BadInput with one sentence for the person who typed it."""
    if len(command) > limit:
        raise BadInput(f"The command has {len(command)} bytes.", f"At most {limit} bytes are read.")
    try:
        text = command.decode()
    except UnicodeDecodeError:
        raise BadInput("The command is not valid UTF-8.") from None
    if "\0" in text:
        raise BadInput("The command contains a NUL byte.")
    if re.match(r"\s*git[\s-]", text):
        return _git_command(text)
    return _cli_command(text)


def _git_command(text: str) -> GitCommand:
    match = _GIT.fullmatch(text)
    if match is None:
        raise BadInput(
            f"{shown(text)} is not a git command that is served here.",
            "`git push` and `git fetch` of ssh://paas@HOST:PORT/APP are.",
        )
    path = match[2] if match[2] is not None else match[3]
    name = AppName.parse(path.removeprefix("/").removesuffix(".git"))
    service: Service = "receive-pack" if match[1] == "receive-pack" else "upload-pack"
    return GitCommand(service, name)


def _cli_command(text: str) -> CliCommand:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise BadInput(f"{shown(text)} cannot be split into words: {error}.".replace("..", ".")) from None
    if words[:1] == ["paas"]:
        words = words[1:]
    if not words:
        raise BadInput("The command is empty.", "Try `ssh paas@HOST help`.")
    if not _WORD.fullmatch(words[0]):
        raise BadInput(f"{shown(words[0])} is not a command.", "Try `ssh paas@HOST help`.")
    if is_local(words[0]):
        raise BadInput(
            f"`{words[0]}` does not work over ssh.",
            "It concerns the machine on which it is typed: use the paas client there.",
        )
    return CliCommand(tuple(words))


def terminal_name(term: bytes | str) -> str:
    """The client's TERM if it looks like one, else `dumb`."""
    text = term.decode("ascii", "replace") if isinstance(term, bytes) else term
    return text if _TERM.fullmatch(text) else "dumb"

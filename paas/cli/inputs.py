"""What a command reads: files, standard input, a typed line; never more than it can use."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import click

from paas.cli.output import over_ssh
from paas.nouns.errors import BadInput, NotFound
from paas.nouns.names import shown
from paas.nouns.text import quoted

_LINE_CHARACTERS = 4096


def read_file(file: str, most: int, *, over_ssh_hint: str) -> bytes:
    """A file's bytes, or those of standard input for «-», the only input over ssh.

    Raises NotFound, and BadInput for more than `most` bytes.
    """
    if file == "-":
        data = sys.stdin.buffer.read(most + 1)
    elif over_ssh():
        raise BadInput("Over ssh a file is read from standard input.", over_ssh_hint)
    else:
        try:
            with Path(file).open("rb") as opened:
                data = opened.read(most + 1)
        except OSError as error:
            raise NotFound(f"{quoted(file)} cannot be read: {error.strerror}.") from error
    if len(data) > most:
        raise BadInput(f"{quoted(file)} is larger than {most} bytes.")
    return data


def open_file(file: str, held: ExitStack, over_ssh_hint: str) -> tuple[BinaryIO, str]:
    """A file that is sent as it is, open as long as `held`, and what people call it; «-» as above. Raises BadInput, NotFound."""
    if file == "-":
        return sys.stdin.buffer, "standard input"
    if over_ssh():
        raise BadInput("Over ssh an archive is read from standard input.", over_ssh_hint)
    try:
        return held.enter_context(Path(file).open("rb")), Path(file).name
    except OSError as error:
        raise NotFound(f"{quoted(file)} cannot be read: {error.strerror}.") from error


def read_line(what: str) -> str:
    """A line of standard input without its end; empty at the end of input. Raises BadInput for an endless one."""
    line = sys.stdin.readline(_LINE_CHARACTERS + 1)
    if len(line) > _LINE_CHARACTERS:
        raise BadInput(f"{what} is longer than {_LINE_CHARACTERS} characters.")
    return line


def read_pairs(words: Sequence[str], form: str) -> dict[str, str]:
    """Words like NAME=VALUE; the value is everything behind the first `=`. Raises BadInput for a name that is given twice, and
    UsageError for another word, that it is not of the `form`."""
    values: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            click.get_current_context().fail(f"{shown(word)} is not {form}.")
        if name in values:
            raise BadInput(f"{quoted(name)} is given twice.")
        values[name] = value
    return values

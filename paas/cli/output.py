"""Output for people: progress on stderr, results on stdout, aligned columns, times with their distance."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from paas.nouns.errors import PaasError
from paas.nouns.text import WARNING, harmless, json_text, visible
from paas.nouns.units import rounded_duration, shown_size


def result(text: str = "") -> None:
    """Print a line of the answer to stdout, without control characters: even a pipe may end at a terminal."""
    sys.stdout.write(visible(text) + "\n")


def painted(text: str, colour: str, more: str = "") -> None:
    """Print a line of the answer; its beginning is coloured (an SGR code) if stdout shows colours."""
    shown = visible(text)
    if colour and shows_colours(sys.stdout):
        shown = f"\x1b[{colour}m{shown}\x1b[0m"
    sys.stdout.write(f"{shown}{visible(more)}\n")


def exact(text: str) -> None:
    """Print a value unchanged for programs; for people as `result` does."""
    if for_people():
        result(text)
    else:
        sys.stdout.write(text + "\n")


def redraw(lines: Iterable[str]) -> None:
    """Replace the content of the terminal by these lines."""
    shown = "".join(f"{visible(line)}\x1b[K\n" for line in lines)
    sys.stdout.write(f"\x1b[H{shown}\x1b[J")
    sys.stdout.flush()


def over_ssh() -> bool:
    """True if the SSH server runs this command for a remote user."""
    return bool(os.environ.get("PAAS_SSH_PROOF"))


def for_people() -> bool:
    """True if stdout is a terminal, or leads over ssh, where the other end is unknown."""
    return sys.stdout.isatty() or over_ssh()


def shows_colours(stream: TextIO) -> bool:
    """True for a terminal that can, unless NO_COLOR is set (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def note(text: str) -> None:
    """Print a line about progress to stderr; one that begins with ` !` is red on a terminal."""
    sys.stderr.write(_noted(text) + "\n")
    sys.stderr.flush()


def _noted(text: str) -> str:
    shown = visible(text)
    return f"\x1b[31m{shown}\x1b[0m" if shown.startswith(" !") and shows_colours(sys.stderr) else shown


def warn(text: str) -> None:
    note(WARNING + text)


def ask(text: str) -> None:
    """Print a question to stderr, without a newline."""
    sys.stderr.write(_noted(WARNING + text))
    sys.stderr.flush()


def print_json(data: Any) -> None:
    sys.stdout.write(json_text(json.dumps(data, indent=2, ensure_ascii=False)) + "\n")


def print_json_line(data: Any) -> None:
    """One object a line, for streams."""
    sys.stdout.write(json_text(json.dumps(data, ensure_ascii=False)) + "\n")


def print_error(error: PaasError) -> None:
    """The cause first, then the hint, then the evidence."""
    message = error.message
    if error.cause and not message.lower().startswith(error.cause.lower()) and error.cause not in message:
        message = f"{error.cause[:1].upper()}{error.cause[1:]}: {message}"
    for line in [*message.splitlines(), *error.hint.splitlines()]:
        warn(line)
    for line in error.lines:
        note(f"       {harmless(line)}")


LATER = "done; the router's workers will have it in a moment"


class Progress:
    """`Scaling hello... done, now running web at 3`: the end follows on the same line.

    Details in between get lines of their own above it. A block that ends without a word ends with `done`.
    """

    def __init__(self, text: str) -> None:
        self._text = visible(f"{text}... ")
        self._live = sys.stderr.isatty()
        self._ended = False

    def __enter__(self) -> Progress:
        if self._live:
            sys.stderr.write(self._text)
            sys.stderr.flush()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None:
            self.done("cancelled" if kind in (KeyboardInterrupt, GeneratorExit) else "failed")
        elif not self._ended:
            self.done()

    def detail(self, text: str) -> None:
        if self._live:
            sys.stderr.write(f"\r\x1b[K{_noted(text)}\n{self._text}")
            sys.stderr.flush()
        else:
            note(text)

    def done(self, end: str = "done") -> None:
        self._ended = True
        note(end if self._live else self._text + end)

    def applied(self, answer: dict[str, Any], end: str = "done") -> None:
        """End with `end`, or with LATER while some router workers do not have the change yet."""
        self.done(end if answer["applied"] else LATER)


def table(rows: Iterable[Sequence[str]], indent: str = "", *, head: Sequence[str] = ()) -> None:
    """Columns two spaces apart; the last one is not padded. Without rows nothing is printed, not even `head`."""
    lines = [list(row) for row in rows]
    for line in columns([list(head), *lines] if head and lines else lines):
        result(indent + line)


def columns(rows: Iterable[Sequence[str]], *, numbers: bool = False) -> list[str]:
    """Lines whose cells are two spaces apart; with `numbers` those between the first and the last stand to the right."""
    lines = [[visible(cell) for cell in row] for row in rows]
    widths = [
        max(len(line[i]) for line in lines if i < len(line)) for i in range(max(map(len, lines), default=0))
    ]
    made = []
    for line in lines:
        right = range(1, len(line) - 1) if numbers else ()
        cells = [
            cell.rjust(widths[i]) if i in right else cell.ljust(widths[i]) for i, cell in enumerate(line)
        ]
        made.append("  ".join(cells).rstrip())
    return made


def listing(title: str, rows: Iterable[Sequence[str]], head: Sequence[str], *, gap: bool = False) -> None:
    """A heading and a table, with `gap` an empty line between them."""
    heading(title)
    if gap:
        result()
    table(rows, head=head)


def pairs(values: dict[str, Any], *, indent: str = "") -> None:
    """`KEY: value`, values aligned."""
    width = max(map(len, values), default=0) + 1
    for name, value in values.items():
        result(f"{indent}{(name + ':').ljust(width)} {value}")


def heading(text: str) -> None:
    result(f"=== {text}")


def ago(seconds: float) -> str:
    """`~ 1h ago`"""
    return f"~ {rounded_duration(seconds)} ago"


def moment(at: float | None, now: float | None = None) -> str:
    """`2026/08/04 14:53:15 +0000 (~ 1h ago)`, in the reader's time zone."""
    if at is None:
        return "never"
    distance = ago((time.time() if now is None else now) - at)
    return f"{time.strftime('%Y/%m/%d %H:%M:%S %z', time.localtime(at))} ({distance})"


def size(count: int | None) -> str:
    """`61.2 MB`; `-` where it is unknown."""
    return "-" if count is None else shown_size(count)


def finish_quietly() -> None:
    """Avoid the interpreter's complaint at exit about a stdout whose reader has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

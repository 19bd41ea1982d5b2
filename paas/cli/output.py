"""What people read: progress on stderr, results on stdout, aligned columns, times with their distance."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from paas.errors import PaasError

_STEPS = ((60, 1, "s"), (3600, 60, "m"), (86400, 3600, "h"), (None, 86400, "d"))


def result(text: str = "") -> None:
    """A line of the answer, to stdout."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """A line about what is going on, to stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def warn(text: str) -> None:
    note(f" !     {text}")


def print_json(data: Any) -> None:
    result(json.dumps(data, indent=2, ensure_ascii=False))


def print_json_line(data: Any) -> None:
    """One object a line, for streams."""
    result(json.dumps(data, ensure_ascii=False))


def print_error(error: PaasError) -> None:
    """The cause first, then the hint, then the evidence."""
    message = error.message
    if error.cause and not message.lower().startswith(error.cause.lower()) and error.cause not in message:
        message = f"{error.cause[:1].upper()}{error.cause[1:]}: {message}"
    for line in [*message.splitlines(), *error.hint.splitlines()]:
        warn(line)
    for line in error.lines:
        note(f"       {line}")


class Progress:
    """`Scaling hello... done, now running web at 3`: the end follows on the same line.

    Details in between get lines of their own above it.
    """

    def __init__(self, text: str) -> None:
        self._text = f"{text}... "
        self._live = sys.stderr.isatty()

    def __enter__(self) -> Progress:
        if self._live:
            sys.stderr.write(self._text)
            sys.stderr.flush()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None:
            self.done("cancelled" if kind in (KeyboardInterrupt, GeneratorExit) else "failed")

    def detail(self, text: str) -> None:
        if self._live:
            sys.stderr.write(f"\r\x1b[K{text}\n{self._text}")
            sys.stderr.flush()
        else:
            note(text)

    def done(self, end: str = "done") -> None:
        note(end if self._live else self._text + end)


def table(rows: Iterable[Sequence[str]], indent: str = "") -> None:
    """Columns two spaces apart; the last one is not padded."""
    lines = [list(row) for row in rows]
    if not lines:
        return
    widths = [max(len(line[i]) for line in lines if i < len(line)) for i in range(max(map(len, lines)))]
    for line in lines:
        cells = [cell.ljust(widths[i]) for i, cell in enumerate(line)]
        result(indent + "  ".join(cells).rstrip())


def pairs(values: dict[str, Any], *, indent: str = "") -> None:
    """`KEY: value`, values aligned."""
    width = max(map(len, values), default=0) + 1
    for name, value in values.items():
        result(f"{indent}{(name + ':').ljust(width)} {value}")


def heading(text: str) -> None:
    result(f"=== {text}")


def ago(seconds: float) -> str:
    """`~ 1h ago`"""
    whole = max(0, int(seconds))
    for below, unit, letter in _STEPS:
        if below is None or whole < below:
            return f"~ {whole // unit}{letter} ago"
    raise AssertionError("the last step has no bound")


def moment(at: float | None, now: float | None = None) -> str:
    """`2026/08/04 14:53:15 +0000 (~ 1h ago)`, in the reader's time zone."""
    if at is None:
        return "never"
    distance = ago((time.time() if now is None else now) - at)
    return f"{time.strftime('%Y/%m/%d %H:%M:%S %z', time.localtime(at))} ({distance})"


def size(count: int | None) -> str:
    """`61.2 MB`, in powers of ten as disks are sold."""
    if count is None:
        return "-"
    amount, unit = float(count), "B"
    for bigger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, bigger
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


def plain(text: str) -> str:
    """Somebody's word as it may be shown: without control characters, and not endless."""
    clean = "".join(letter if letter.isprintable() else "?" for letter in text)
    return clean if len(clean) <= 60 else clean[:60] + "…"


def one_line(text: str) -> str:
    """A command as one harmless line."""
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


def finish_quietly() -> None:
    """Nobody reads stdout any longer: say nothing at the interpreter's end, either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

"""Forked children: each runs one function and exits; an exception goes to the log with its traceback."""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Callable

CRASHED = 70
"""The exit status of a child that an exception ended."""

_MAX_CHARACTERS = 16384

_log = 2


def fork(name: str, action: Callable[[], int | None]) -> int:
    """Fork a child that runs `action` and exits with the status it returns (None: 0); returns the child's process id.

    None of the caller's code runs in the child afterwards. An exception is logged under `name`; the status is CRASHED.
    """
    pid = os.fork()
    if pid:
        return pid
    status = CRASHED
    try:
        status = action() or 0
    except BaseException:
        log_crash(name)
    finally:
        os._exit(status)


def log_to(descriptor: int) -> None:
    """Log crashes to `descriptor` in this process and its children, whose standard error belongs to a client."""
    global _log
    _log = descriptor


def log_crash(name: str) -> None:
    """Log the traceback of the current exception, without control characters."""
    log_lines([f"event=crashed process={name!r}", *traceback.format_exc().splitlines()])


def log_lines(lines: list[str]) -> None:
    """Log lines of any content; if they are too many, the last ones."""
    text = "".join(_plain(line) + "\n" for line in lines)[-_MAX_CHARACTERS:]
    with contextlib.suppress(OSError):
        os.write(_log, text.encode("utf-8", "backslashreplace"))


def _plain(line: str) -> str:
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)

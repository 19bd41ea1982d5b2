"""What the pusher reads: errors in the grammar of a push, and every line made harmless on its way out.

A build prints what it likes; on the pusher's terminal it must neither move the cursor nor pose as git (CVE-2024-52005).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from paas.nouns.errors import PaasError
from paas.nouns.text import WARNING
from paas.nouns.text import harmless as harmless_text
from paas.nouns.units import elapsed

MAX_LINE_CHARACTERS = 2000
WIDTH = 92
HEARTBEAT_S = 10.0
_HEADINGS = ("-----> ", "       Waiting")
"""How lines begin that say what goes on until the next such line."""


class Progress:
    """Lines to the pusher through `write`, and a sign of life where nothing else is said."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._activity = "working"
        self._doing = ""
        self._began = self._last_line = time.monotonic()

    def say(self, *lines: str) -> None:
        for line in lines:
            self._write(harmless(line).encode() + b"\n")
            if line.startswith(_HEADINGS):
                self._doing = harmless(line).removeprefix("----->").strip()
        self._last_line = time.monotonic()

    def begin(self, activity: str) -> None:
        """From now on a heartbeat says that this goes on."""
        self._activity, self._doing = activity, ""
        self._began = self._last_line = time.monotonic()

    def tick(self) -> None:
        """Break a silence of ten seconds."""
        now = time.monotonic()
        if now - self._last_line >= HEARTBEAT_S:
            doing = f": {self._doing}" if self._doing else ""
            self.say(f"       Still {self._activity} ({elapsed(now - self._began)}){doing}")


def harmless(text: str) -> str:
    """One line without control characters, cut if it is very long."""
    plain = harmless_text(text).encode("utf-8", "replace").decode()
    return plain if len(plain) <= MAX_LINE_CHARACTERS else plain[:MAX_LINE_CHARACTERS] + " …"


def wrapped(text: str, first: str, following: str) -> Iterator[str]:
    """The words of `text` in lines of at most WIDTH columns; a longer word gets a line of its own.

    Control sequences go before the text is divided: one that is cut in two is no longer recognised.
    """
    line, prefix = "", first
    for word in harmless(text).split():
        if line and len(prefix) + len(line) + 1 + len(word) > WIDTH:
            yield prefix + line
            line, prefix = word, following
        else:
            line = f"{line} {word}" if line else word
    yield prefix + line


def warning(text: str) -> list[str]:
    """A warning, wrapped."""
    return list(wrapped(text, WARNING, WARNING))


def failure(error: PaasError) -> list[str]:
    """The error with its cause first, what to do about it, and the log lines."""
    message = error.message
    if error.cause and not message.lower().startswith(error.cause.lower()):
        message = f"{error.cause[:1].upper()}{error.cause[1:]}: {message}"
    lines = warning(message)
    for sentence in error.hint.splitlines():
        lines += warning(sentence)
    return lines + ["       " + harmless(line) for line in error.lines]


def rejected(why: str) -> list[str]:
    """The last line of a push that changed nothing."""
    return warning(f"Push rejected: {harmless(why).rstrip('.')}.")


def first_words(message: str) -> str:
    """The first line of a message, shortened."""
    line = message.split("\n")[0]
    return line if len(line) <= 120 else line[:119] + "…"

"""Lines for the person who pushes: tenant text made harmless, errors in the grammar of a push.

Pure. A build prints what it likes; on the pusher's terminal it must neither move the cursor nor pose as git
(CVE-2024-52005).
"""

from __future__ import annotations

from collections.abc import Iterator

from paas.nouns.errors import PaasError
from paas.nouns.text import harmless as harmless_text

MAX_LINE_CHARACTERS = 2000
WIDTH = 92


def harmless(text: str) -> str:
    """One line as paas.nouns.text makes it, cut when very long."""
    plain = harmless_text(text).encode("utf-8", "replace").decode()
    return plain if len(plain) <= MAX_LINE_CHARACTERS else plain[:MAX_LINE_CHARACTERS] + " …"


def wrapped(text: str, first: str, rest: str) -> Iterator[str]:
    """The words of `text` in lines of at most WIDTH columns; a longer word gets a line of its own."""
    line, prefix = "", first
    for word in text.split():
        if line and len(prefix) + len(line) + 1 + len(word) > WIDTH:
            yield prefix + line
            line, prefix = word, rest
        else:
            line = f"{line} {word}" if line else word
    yield prefix + line


def warning(text: str) -> list[str]:
    """` !     text`, wrapped."""
    return list(wrapped(harmless(text), " !     ", " !     "))


def failure(error: PaasError) -> list[str]:
    """Cause first, then the evidence, what to do, and the log lines."""
    message = error.message
    if error.cause and not message.lower().startswith(error.cause.lower()):
        message = f"{error.cause[:1].upper()}{error.cause[1:]}: {message}"
    lines = warning(message)
    for sentence in error.hint.splitlines():
        lines += warning(sentence)
    return lines + ["       " + harmless(line) for line in error.lines]


def rejected(why: str) -> list[str]:
    """The last line of a push that changed nothing."""
    text = harmless(why).rstrip(".")
    return warning(f"Push rejected: {text}.")


def first_words(message: str) -> str:
    """The first line of a message, shortened."""
    line = message.split("\n")[0]
    return line if len(line) <= 120 else line[:119] + "…"

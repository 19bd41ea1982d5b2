"""What a push prints: each line goes to the pusher and to the build's log."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

from paas.build.output import printable
from paas.nouns.errors import PaasError
from paas.nouns.text import WARNING


class PushOutput:
    """Sends the lines of a push to the pusher and to the build's log."""

    def __init__(self, out: Callable[[str], None], log: IO[str]) -> None:
        self._out, self._log = out, log

    def line(self, text: str) -> None:
        text = printable(text)
        self.record(text)
        self._out(text)

    def warning(self, text: str) -> None:
        self.line(WARNING + text)

    def record(self, text: str) -> None:
        self._log.write(text + "\n")
        self._log.flush()

    def failure(self, error: PaasError) -> None:
        """Record in the log how the push failed; the pusher gets the error itself."""
        prefix = f"{error.cause}: " if error.cause else ""
        for text in (prefix + error.message, error.hint):
            if text:
                self.record(WARNING + printable(text))


def open_log(folder: Path, number: int) -> IO[str]:
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    descriptor = os.open(
        folder / f"{number}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640
    )
    return open(descriptor, "w", encoding="utf-8", errors="backslashreplace")

"""What a build prints: bytes of a container to printable lines, and where the lines go."""

from __future__ import annotations

import codecs
import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from paas.nouns.text import WARNING, harmless
from runtime.spec import MIB

MATCHED_LINES = 400
"""The last lines of a step that are searched for a known cause when it fails."""
KEPT_ERRORS = 10
SHOWN_ALIKE = 5
"""Lines of one list that are shown: the rest of it is counted."""
_LISTED = re.compile(
    r"npm (?:warn|WARN)\b|warning\b| ?WARN\b|Download (?=https?:)| ?\+ (?=\S+(?:==|@| v?\d))"
)
"""How the lines of the installers' long lists begin: warnings of npm, yarn and pnpm, packages of uv, pnpm and Deno."""
MAX_LINE = 2000
MAX_OUTPUT_BYTES = 8 * MIB


@dataclass
class Output:
    """Where the lines of a build go as they come, and whether the build is cancelled."""

    line: Callable[[str], None]
    cancelled: Callable[[], bool] = lambda: False
    take_turn: Callable[[], None] = lambda: None
    """Returns when the build may run a step on this machine. Raises Cancelled."""
    recent: deque[str] = field(default_factory=lambda: deque(maxlen=MATCHED_LINES))
    errors: list[str] = field(default_factory=list)
    """The first lines that begin with «error:», since a tool's own sentence may stand above a long log."""
    began: float = 0.0
    """When the first step began (monotonic)."""
    printed: int = 0
    """Characters that the build's steps have printed so far."""

    @property
    def whole(self) -> bool:
        """Whether every line has been shown, but for long lists."""
        return self.printed <= MAX_OUTPUT_BYTES

    _list: str = ""
    _listed: int = 0

    def begin_step(self) -> None:
        """Forget what earlier steps printed: it does not explain why this one fails."""
        self.began = self.began or time.monotonic()
        self.recent.clear()
        self.errors.clear()

    def from_instance(self, text: str) -> None:
        """Pass one printed line on. Beyond the cap it is only kept to explain a failure."""
        self.recent.append(text)
        if text.startswith("error:") and len(self.errors) < KEPT_ERRORS:
            self.errors.append(text)
        before, self.printed = self.printed, self.printed + len(text) + 1
        if self._in_long_list(text):
            return
        if self.printed <= MAX_OUTPUT_BYTES:
            self.line(("       " + text).rstrip())
        elif before <= MAX_OUTPUT_BYTES:
            self.line(f"{WARNING}More than {MAX_OUTPUT_BYTES // MIB} MiB of output: the rest is not shown")

    def _in_long_list(self, text: str) -> bool:
        match = _LISTED.match(text)
        if match is None or match[0] != self._list:
            self.end_list()
            self._list = match[0] if match else ""
        self._listed += 1 if match else 0
        return self._listed > SHOWN_ALIKE

    def end_list(self) -> None:
        """Say how many lines of a list were left out, if any; a step ends with it."""
        left_out, begins = self._listed - SHOWN_ALIKE, self._list.strip()
        self._list, self._listed = "", 0
        if left_out > 0 and self.whole:
            self.line(f"       … and {left_out} more such lines ({begins})")


class PrintedLines:
    """Divides printed bytes into printable lines. A carriage return starts the line again, as progress bars expect."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._unfinished = ""

    def feed(self, data: bytes) -> list[str]:
        *whole, self._unfinished = (self._unfinished + self._decoder.decode(data)).split("\n")
        self._unfinished = self._unfinished[-MAX_LINE * 8 :]
        return [printable(line) for line in whole]

    def finish(self) -> list[str]:
        unfinished, self._unfinished = self._unfinished, ""
        return [printable(unfinished)] if unfinished else []


def printable(line: str) -> str:
    """One line without escape sequences and control characters; tabs stay, a very long one is cut."""
    last = line.rstrip("\r").rpartition("\r")[2]
    text = harmless(last).rstrip()
    return text if len(text) <= MAX_LINE else text[:MAX_LINE] + " …"

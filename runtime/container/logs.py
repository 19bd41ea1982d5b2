"""Log lines: the output of a container, sanitized, stamped, limited in rate, kept in two files used in turn.

Pure except for `Ring`, which writes to descriptors it is given, because a shim may not open files.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass

MAX_LINE_BYTES = 10_000
RING_BYTES = 8 * 1024 * 1024
RATE_BYTES = 1024 * 1024
BURST_BYTES = 4 * 1024 * 1024
NOTE_EVERY_S = 1.0

_PLAIN = re.compile(rb"[\t\x20-\x7e]*")
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[ -/]*[0-~])?"
)
_CONTROLS = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"  # C0, C1, direction
)


def sanitize(line: bytes) -> bytes:
    """One line without its line end: valid UTF-8 in which nothing moves a cursor or changes direction."""
    line = line.rstrip(b"\r")
    if _PLAIN.fullmatch(line):
        return line
    text = line.decode("utf-8", "replace")
    return _CONTROLS.sub("", _ESCAPES.sub("", text).replace("\r", " ")).encode()


class LineSplitter:
    """Bytes in, sanitized lines out; keeps an incomplete last line, splits one that grows too long."""

    def __init__(self, max_bytes: int = MAX_LINE_BYTES) -> None:
        self._incomplete = b""
        self._skipping = False
        self._max = max_bytes

    def feed(self, data: bytes) -> list[bytes]:
        if self._skipping:
            _, end, data = data.partition(b"\n")
            self._skipping = not end
        *lines, self._incomplete = (self._incomplete + data).split(b"\n")
        found: list[bytes] = []
        for line in lines:
            found += self._pieces(line)
        if len(self._incomplete) > self._max:
            *pieces, self._incomplete = self._cut(self._incomplete)
            found += map(sanitize, pieces)
        return found

    def finish(self) -> list[bytes]:
        """The incomplete last line, if there is one."""
        last, self._incomplete = self._incomplete, b""
        return self._pieces(last) if last else []

    def forget(self, data: bytes) -> int:
        """Drop the lines that `data` ends, holds and begins, the last one to its end; returns their number."""
        count = data.count(b"\n") + (not data.endswith(b"\n")) - self._skipping
        self._incomplete, self._skipping = b"", not data.endswith(b"\n")
        return count

    def _pieces(self, line: bytes) -> list[bytes]:
        if len(line) <= self._max:
            return [sanitize(line)]
        return [sanitize(piece) for piece in self._cut(line)]

    def _cut(self, line: bytes) -> list[bytes]:
        """Pieces of at most `max_bytes`; valid UTF-8 is not cut inside a character."""
        pieces = []
        start = 0
        while len(line) - start > self._max:
            end = start + self._max
            for back in range(4):
                if line[end - back] & 0xC0 != 0x80:
                    end -= back
                    break
            pieces.append(line[start:end])
            start = end
        return [*pieces, line[start:]]


def stamp(now: float) -> str:
    """Unix seconds as `2026-08-04T21:53:15.123456+00:00`."""
    micros = round(now * 1_000_000)
    whole = time.gmtime(micros // 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', whole)}.{micros % 1_000_000:06d}+00:00"


@dataclass
class Allowance:
    """A token bucket of bytes: `rate` a second, at most `burst` saved up."""

    rate: int = RATE_BYTES
    burst: int = BURST_BYTES
    left: float = BURST_BYTES
    at: float = 0.0

    def available(self, now: float) -> float:
        """Bytes that may pass at monotonic second `now`."""
        self.left = min(self.burst, self.left + (now - self.at) * self.rate)
        self.at = now
        return self.left

    def take(self, size: int, now: float) -> bool:
        """Whether `size` more bytes may pass at monotonic second `now`; they are counted if so."""
        self.available(now)
        if size > self.left:
            return False
        self.left -= size
        return True


class Journal:
    """Formats the lines of one container and drops those beyond its rate, which a note counts."""

    def __init__(self, source: str, dyno: str, allowance: Allowance | None = None) -> None:
        self._prefix = f" {source}[{dyno}]: ".encode()
        self._note = f" paas[{dyno}]: ".encode()
        self._allowance = allowance or Allowance()
        self._dropped = 0
        self._note_due = 0.0

    @property
    def dropped(self) -> int:
        """Lines that were dropped since the last note."""
        return self._dropped

    def throttled(self, now: float) -> bool:
        """Whether so little of the rate is left that splitting the output into lines would be wasted."""
        return self._allowance.available(now) < MAX_LINE_BYTES

    def format(self, lines: list[bytes], *, wall: float, now: float) -> bytes:
        """The lines stamped with unix second `wall`; those beyond the rate are counted instead."""
        if not lines:
            return b""
        out: list[bytes] = []
        head = stamp(wall).encode() + self._prefix
        for line in lines:
            if not self._allowance.take(len(line) + len(head) + 1, now):
                self._dropped += 1
                continue
            if self.note_due(now):
                out.append(self.take_note(wall, now))
            out.append(head + line + b"\n")
        return b"".join(out)

    def drop(self, count: int) -> None:
        self._dropped += count

    def note_due(self, now: float) -> bool:
        """Whether lines were dropped since the last note, and that is a second ago."""
        return bool(self._dropped) and now >= self._note_due

    def take_note(self, wall: float, now: float) -> bytes:
        """One line that says how many were dropped since the last such line; empty if none were."""
        count, self._dropped, self._note_due = self._dropped, 0, now + NOTE_EVERY_S
        return self.own_line(b"dropped %d lines" % count, wall) if count else b""

    def own_line(self, text: bytes, wall: float) -> bytes:
        """A line of the platform itself among those of the container, at unix second `wall`."""
        return stamp(wall).encode() + self._note + text + b"\n"


class Ring:
    """Two append-only files of at most `cap` bytes each; the older is emptied when the newer is full."""

    def __init__(self, descriptors: tuple[int, int], cap: int = RING_BYTES) -> None:
        self._files = descriptors
        self._cap = cap
        stats = [os.fstat(fd) for fd in descriptors]
        self._current = 1 if stats[1].st_size and stats[1].st_mtime_ns >= stats[0].st_mtime_ns else 0
        self._size = stats[self._current].st_size

    def write(self, data: bytes) -> None:
        """Append whole lines. A full disk loses them: printing must not stop the app."""
        if self._size and self._size + len(data) > self._cap:
            self._current = 1 - self._current
            self._size = 0
            os.ftruncate(self._files[self._current], 0)
        try:
            self._size += os.write(self._files[self._current], data)
        except OSError:
            return

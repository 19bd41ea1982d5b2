"""The access log: the loop appends entries; they are formatted and written in batches, to one ring per app and
worker."""

from __future__ import annotations

import sys
from collections import OrderedDict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from router.report.entry import UNKNOWN, Entry
from router.report.metrics import Metrics
from router.report.ring import RING_BYTES, Ring
from router.rules.own_answers import OwnAnswer
from router.rules.route import Route

FLUSH_S: Final = 0.1
FLUSH_ENTRIES: Final = 128
FORMAT_BATCH: Final = 16
WRITE_LINES: Final = 32
"""The number of formatted lines that an idle loop writes at once."""
OPEN_RINGS: Final = 256

_INFO: Final = b"+00:00 paas[router]: at=info method="
_DIGITS: Final = [b"%03d" % value for value in range(1000)]
_SIZE: Final = [b"%d protocol=" % value for value in range(1000)]
_SERVICE: Final = [b" connect=0ms service=%dms status=" % value for value in range(1000)]
_STATUS: Final = [b"%d bytes=" % value for value in range(1000)]


def format_lines(entries: list[Entry], logs: dict[str, list[bytes]]) -> None:
    """Append the lines to `logs` by name, as pieces to be joined; each line ends in a newline."""
    stamped, info = -1.0, b""
    last: Route | None = None
    pieces: list[bytes] | None = None
    for wall, method, target, host, id, forwarded, backend, connect, service, status, size, own_answer, route, protocol in entries:  # fmt: skip
        if wall != stamped:
            stamped, info = wall, _STAMPS.text(wall, _INFO)
        if pieces is None or route is not last:
            last = route
            pieces = logs.setdefault(route.log if route is not None else UNKNOWN, [])
        ms = int(service * 1000)
        pieces += (
            info if own_answer is None or not own_answer.code else _STAMPS.text(wall, _error(own_answer)),
            method, b' path="', target, b'" host=', host, b" request_id=", id, b' fwd="', forwarded, b'" dyno=', backend.dyno if backend is not None else b"",
            _SERVICE[ms] if ms < 1000 and not connect else _times(connect, ms),
            _STATUS[status], _SIZE[size] if size < 1000 else b"%d protocol=" % size, protocol, b"\n",
        )  # fmt: skip


def _times(connect: float, ms: int) -> bytes:
    return b" connect=%dms service=%dms status=" % (connect * 1000, ms)


def _error(own_answer: OwnAnswer) -> bytes:
    return f'+00:00 paas[router]: at=error code={own_answer.code} desc="{own_answer.log}" method='.encode()


class Stamps:
    """Formats unix times as `2026-08-04T21:53:15.123456`; the text of the current second is reused."""

    def __init__(self) -> None:
        self._second = -1
        self._text = b""

    def text(self, wall: float, suffix: bytes) -> bytes:
        micros = int((wall - self._second) * 1e6)
        if not 0 <= micros < 1_000_000:
            self._second = int(wall)
            self._text = datetime.fromtimestamp(self._second, UTC).strftime("%Y-%m-%dT%H:%M:%S.").encode()
            micros = int((wall - self._second) * 1e6)
        return b"".join((self._text, _DIGITS[micros // 1000], _DIGITS[micros % 1000], suffix))


_STAMPS: Final = Stamps()


class AccessLog:
    """Collects entries. `format_some` handles a few of them while the loop is idle; `flush` handles all and writes.
    Without a folder they are only counted."""

    def __init__(
        self, folder: Path | None, worker: int, metrics: Metrics, cap_bytes: int = RING_BYTES
    ) -> None:
        self.entries: list[Entry] = []
        """The list object never changes: the loop holds it too."""
        self.batch = FLUSH_ENTRIES
        """`flush` is due at this number of entries, or when the first is older than FLUSH_S."""
        self._lines: dict[str, list[bytes]] = {}
        """Formatted pieces that are not written yet, by the name of the log."""
        self._formatted = 0
        self._folder = folder
        self._worker = worker
        self._metrics = metrics
        self._cap = cap_bytes
        self._rings: OrderedDict[str, Ring] = OrderedDict()
        self.lost = 0
        """Lines that could not be written."""

    @property
    def pending(self) -> bool:
        """Whether there is something to flush."""
        return bool(self.entries or self._formatted)

    def format_some(self) -> None:
        """Do a small part of the work, so that a new event hardly waits."""
        if self._formatted >= WRITE_LINES:
            self._write_all()
        else:
            some = self.entries[:FORMAT_BATCH]
            del self.entries[:FORMAT_BATCH]
            self._format(some)

    def _format(self, entries: list[Entry]) -> None:
        self._metrics.count(entries)
        if self._folder is not None:
            format_lines(entries, self._lines)
            self._formatted += len(entries)

    def flush(self) -> None:
        """Count, format and write all entries."""
        if self.entries:
            self._format(self.entries)
            self.entries.clear()
        if self._formatted:
            self._write_all()

    def _write_all(self) -> None:
        lines, self._lines, self._formatted = self._lines, {}, 0
        for name, pieces in lines.items():
            self._write(name, pieces)

    def note(self, name: str, wall: float, text: bytes) -> None:
        """Write a line that is no request into an app's log, after the requests before it."""
        self.flush()
        if self._folder is not None:
            self._write(name, [_STAMPS.text(wall, b"+00:00 paas[router]: "), text, b"\n"])

    def _write(self, name: str, pieces: list[bytes]) -> None:
        lines = b"".join(pieces)
        try:
            self._ring(name).write(lines)
        except OSError as error:
            if not self.lost:
                print(f"router event=log-lost name={name} error={error}", file=sys.stderr, flush=True)
            self.lost += lines.count(b"\n")
            ring = self._rings.pop(name, None)
            if ring is not None:
                ring.close()

    def _ring(self, name: str) -> Ring:
        ring = self._rings.get(name)
        if ring is None:
            assert self._folder is not None
            ring = Ring(self._folder / f"{name}.{self._worker}", self._cap)
            self._rings[name] = ring
            if len(self._rings) > OPEN_RINGS:
                self._rings.popitem(last=False)[1].close()
        self._rings.move_to_end(name)
        return ring

    def close(self) -> None:
        self.flush()
        for ring in self._rings.values():
            ring.close()
        self._rings.clear()

"""The access log: entries are appended on the loop, formatted and written in batches, one ring of two files per app.

`NAME.WORKER.0.log` and `NAME.WORKER.1.log` are used alternately: when the newer is full the older is written anew.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections import OrderedDict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from router.report.metrics import Metrics
from router.rules.failures import Failure
from router.rules.table import Backend, Route

RING_BYTES: Final = 8 * 1024 * 1024
FLUSH_S: Final = 0.1
FLUSH_ENTRIES: Final = 128
A_FEW: Final = 16
WRITE_LINES: Final = 32
"""With so many the time to write has come, when there is nothing else to do."""
PIECE_BYTES: Final = 256 * 1024
OPEN_RINGS: Final = 256
UNKNOWN: Final = "_unknown"

_INFO: Final = b"+00:00 paas[router]: at=info method="
_THREE: Final = [b"%03d" % value for value in range(1000)]
_SIZE: Final = [b"%d protocol=" % value for value in range(1000)]
_SERVICE: Final = [b" connect=0ms service=%dms status=" % value for value in range(1000)]
_STATUS: Final = [b"%d bytes=" % value for value in range(1000)]
_UNSAFE = re.compile(rb"[^!#-\[\]-~ ]")


Entry = tuple[
    float,
    bytes,
    bytes,
    bytes,
    bytes,
    bytes,
    Backend | None,
    float,
    float,
    int,
    int,
    Failure | None,
    Route | None,
    bytes,
]
"""One request that is over: wall time, method, target (quoted), host, request id, forwarded for (quoted), backend, seconds to connect (0.0
when the connection was open already), seconds of service, status, bytes of body, failure, route, scheme. A bare tuple:
one is made for every request."""


def quote(text: bytes) -> bytes:
    """Bytes that cannot end a quoted field or a line: everything else is %XX."""
    return _UNSAFE.sub(lambda match: b"%%%02X" % match[0][0], text)


def format_lines(entries: list[Entry], logs: dict[str, list[bytes]]) -> None:
    """Add the lines to the logs by name, each with its newline, in pieces that belong together."""
    stamped, info = -1.0, b""
    last: Route | None = None
    pieces: list[bytes] | None = None
    for wall, method, target, host, id, forwarded, backend, connect, service, status, size, failure, route, protocol in entries:  # fmt: skip
        if wall != stamped:
            stamped, info = wall, _STAMPS.text(wall, _INFO)
        if pieces is None or route is not last:
            last = route
            pieces = logs.setdefault(route.log if route is not None else UNKNOWN, [])
        ms = int(service * 1000)
        pieces += (
            info if failure is None or not failure.code else _STAMPS.text(wall, _error(failure)),
            method, b' path="', target, b'" host=', host, b" request_id=", id, b' fwd="', forwarded, b'" dyno=', backend.dyno if backend is not None else b"",
            _SERVICE[ms] if ms < 1000 and not connect else _times(connect, ms),
            _STATUS[status], _SIZE[size] if size < 1000 else b"%d protocol=" % size, protocol, b"\n",
        )  # fmt: skip


def _times(connect: float, ms: int) -> bytes:
    return b" connect=%dms service=%dms status=" % (connect * 1000, ms)


def _error(failure: Failure) -> bytes:
    return f'+00:00 paas[router]: at=error code={failure.code} desc="{failure.log}" method='.encode()


class Stamps:
    """Writes unix times as `2026-08-04T21:53:15.123456` and something behind; the second is written once."""

    def __init__(self) -> None:
        self._second = -1
        self._text = b""

    def text(self, wall: float, behind: bytes) -> bytes:
        micros = int((wall - self._second) * 1e6)
        if not 0 <= micros < 1_000_000:
            self._second = int(wall)
            self._text = datetime.fromtimestamp(self._second, UTC).strftime("%Y-%m-%dT%H:%M:%S.").encode()
            micros = int((wall - self._second) * 1e6)
        return b"".join((self._text, _THREE[micros // 1000], _THREE[micros % 1000], behind))


_STAMPS: Final = Stamps()


class Ring:
    """Two files that are written in turn, `cap_bytes` each. The kernel takes milliseconds to free a whole file, so the
    older one is unlinked, and freed piece by piece while the other is written."""

    def __init__(self, base: Path, cap_bytes: int) -> None:
        self._paths = [base.with_name(f"{base.name}.{n}.log") for n in (0, 1)]
        self._cap = cap_bytes
        times = [path.stat().st_mtime_ns if path.exists() else 0 for path in self._paths]
        self._turn = 1 if times[1] > times[0] else 0
        self._fd = self._worn = -1
        self._left = 0
        """Bytes of the unlinked file `_worn` that are still to be freed."""
        self._open()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(self._paths[self._turn], flags, 0o640)
        self._size = os.fstat(self._fd).st_size
        if self._size == 0:
            os.fchmod(self._fd, 0o640)

    def write(self, data: bytes) -> None:
        if self._size and self._size + len(data) > self._cap:
            self._turn_over()
        self._size += os.write(self._fd, data)
        if self._worn >= 0:
            self._wear()

    def _turn_over(self) -> None:
        """Go on in the other file, with nothing in it."""
        self.close()
        self._turn ^= 1
        path = self._paths[self._turn]
        with contextlib.suppress(OSError):  # what cannot be opened is freed at once
            self._worn = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            self._left = os.fstat(self._worn).st_size
        path.unlink(missing_ok=True)
        self._open()

    def _wear(self) -> None:
        self._left -= PIECE_BYTES
        if self._left > 0:
            os.truncate(self._worn, self._left)
        else:
            os.close(self._worn)
            self._worn = -1

    def close(self) -> None:
        """Close the files; once more does nothing."""
        for fd in (self._fd, self._worn):
            if fd >= 0:
                os.close(fd)
        self._fd = self._worn = -1


class AccessLog:
    """Takes entries; `do_some` counts and formats a few, when there is time, `flush` all of them, and writes. Without a
    folder they are only counted."""

    def __init__(
        self, folder: Path | None, worker: int, metrics: Metrics, cap_bytes: int = RING_BYTES
    ) -> None:
        self.entries: list[Entry] = []
        """Always the same list."""
        self.batch = FLUSH_ENTRIES
        """With so many entries `flush` is due, and when the first is older than FLUSH_S."""
        self._lines: dict[str, list[bytes]] = {}
        """Pieces of what is still to be written, by the name of the log."""
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

    def do_some(self) -> None:
        """A small part of what there is to do; whoever comes meanwhile hardly waits."""
        if self._formatted >= WRITE_LINES:
            self._write_all()
        else:
            some = self.entries[:A_FEW]
            del self.entries[:A_FEW]
            self._take(some)

    def _take(self, entries: list[Entry]) -> None:
        self._metrics.count(entries)
        if self._folder is not None:
            format_lines(entries, self._lines)
            self._formatted += len(entries)

    def flush(self) -> None:
        """Count, format and write what has been gathered."""
        if self.entries:
            self._take(self.entries)
            self.entries.clear()
        if self._formatted:
            self._write_all()

    def _write_all(self) -> None:
        lines, self._lines, self._formatted = self._lines, {}, 0
        for name, pieces in lines.items():
            self._write(name, pieces)

    def note(self, name: str, wall: float, text: bytes) -> None:
        """A line of another kind among the requests of an app."""
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

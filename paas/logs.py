"""Log lines of an app: the platform's own file, and one stream merged by time out of all files.

Every line begins with a time of fixed width (`2026-08-04T21:53:15.123456+00:00`), so that text order is time order.
Shims write `logs/APPID/INSTANCE.{0,1}.log`, each pair a ring of two; router workers `logs/router/APPID.WORKER.{0,1}.log`;
the control plane `logs/APPID/platform.log` and, when that is full, `platform.old.log`.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from runtime.home import Layout

PLATFORM_FILE_BYTES = 4 * 1024 * 1024
MAX_LINE_BYTES = 10_000
_STAMP = 32
_CHUNK = 64 * 1024
_HEAD = re.compile(rb"(\S{32}) ([a-z]+)\[([A-Za-z0-9_.-]+)\]: ")
_RING = re.compile(r"(i[0-9]+)\.[01]\.log")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True)
class Query:
    """Which lines are wanted. `source` is app, paas, router or api; `instances` limits to runtime ids (`i7`)."""

    type: str | None = None
    dyno: str | None = None
    source: str | None = None
    since: str | None = None
    request: str | None = None
    instances: frozenset[str] | None = None

    def wants(self, line: bytes) -> bool:
        """Whether a line, a whole one without its newline, belongs to the answer."""
        match = _HEAD.match(line)
        if match is None:
            return False
        source, tag = match[2].decode(), match[3].decode()
        if self.since is not None and match[1].decode(errors="replace") < self.since:
            return False
        if self.source is not None and self.source not in (source, tag):
            return False
        if self.request is not None and self.request.encode() not in line:
            return False
        if self.type is None and self.dyno is None:
            return True
        dyno = _routed_dyno(line) if tag == "router" else tag
        return dyno == self.dyno if self.dyno is not None else dyno.rpartition(".")[0] == self.type


def _routed_dyno(line: bytes) -> str:
    match = re.search(rb" dyno=([A-Za-z0-9_.-]+)", line)
    return match[1].decode() if match else ""


class Parts(NamedTuple):
    """A line taken apart: `AT source[dyno]: message`."""

    at: str
    source: str
    dyno: str
    message: str


def parts(line: str) -> Parts:
    at, _, tail = line.partition(" ")
    head, _, message = tail.partition(": ")
    source, _, dyno = head.rstrip("]").partition("[")
    return Parts(at, source, dyno, message)


def message_of(line: bytes) -> str:
    """What the process printed."""
    return parts(line.decode("utf-8", "replace")).message


def stamp(at: float) -> str:
    """A time as lines begin with it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")


def platform_line(layout: Layout, app_id: str, source: str, text: str, *, at: float | None = None) -> None:
    """Append `paas[source]: text` to the app's platform file. An app that is gone has no log, which is no error."""
    now = datetime.now(UTC).timestamp() if at is None else at
    clean = _CONTROL.sub(" ", text).encode(errors="replace")[:MAX_LINE_BYTES].decode(errors="ignore")
    line = f"{stamp(now)} paas[{source}]: {clean}\n".encode()
    path = layout.logs / app_id / "platform.log"
    while True:
        try:
            fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        except OSError:
            return
        try:
            if os.fstat(fd).st_size < PLATFORM_FILE_BYTES:
                os.write(fd, line)
                return
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(fd), os.stat(path)):
                os.replace(path, path.with_name("platform.old.log"))
        except FileNotFoundError:
            continue
        finally:
            os.close(fd)


def tail(
    layout: Layout, app_id: str, query: Query, count: int, *, ends: Mapping[int, int] | None = None
) -> list[bytes]:
    """The last `count` wanted lines, oldest first, without newlines; of each file, by inode, those before `ends`."""
    newest = heapq.merge(
        *(_backwards(files, query, ends) for files in _streams(layout, app_id, query).values()),
        key=lambda line: line[:_STAMP],
        reverse=True,
    )
    return list(islice(newest, count))[::-1]


class Follower:
    """An app's lines up to the moment when this was made (`tail`), and those since (`poll`): no line twice."""

    def __init__(self, layout: Layout, app_id: str, query: Query) -> None:
        self._layout, self._app_id, self._query = layout, app_id, query
        self._offsets = {
            status.st_ino: _last_line_end(path, status.st_size)
            for path in self._files()
            if (status := _status(path)) is not None
        }
        """file (by inode, for files are renamed) → where its next line begins"""

    def tail(self, count: int) -> list[bytes]:
        """The last `count` wanted lines, oldest first. To be called before the first `poll`."""
        return tail(self._layout, self._app_id, self._query, count, ends=self._offsets)

    def poll(self) -> list[bytes]:
        """Whole lines that came meanwhile, in the order of time. Reads nothing when no file has grown."""
        lines: list[bytes] = []
        offsets: dict[int, int] = {}
        self._read(lines, offsets)
        if self._offsets.keys() - offsets.keys():  # renamed while it was looked for, or gone
            self._read(lines, offsets)
        self._offsets = offsets
        lines.sort(key=lambda line: line[:_STAMP])
        return lines

    def _read(self, lines: list[bytes], offsets: dict[int, int]) -> None:
        """Add what is new in files whose inode is not among `offsets` yet, and how far they have been read."""
        for path in self._files():
            status = _status(path)
            if status is None or status.st_ino in offsets:
                continue
            offset = self._offsets.get(status.st_ino, 0)
            if status.st_size < offset:
                offset = 0
            if status.st_size > offset:
                fresh, offset = _lines_from(path, status.st_ino, offset)
                lines += [line for line in fresh if self._query.wants(line)]
            offsets[status.st_ino] = offset

    def _files(self) -> list[Path]:
        streams = _streams(self._layout, self._app_id, self._query)
        return [path for files in streams.values() for path in files]


@dataclass
class _Old:
    """A file that may go: emptied if its writer keeps it `open`, else deleted."""

    path: Path
    size: int
    mtime: float
    open: bool


def enforce_cap(layout: Layout, app_id: str, cap_bytes: int, live: Collection[str]) -> int:
    """Remove the app's oldest log files until all its logs take at most `cap_bytes`; bytes freed.

    `live` are the runtime ids that still write: of theirs, of the router's and of the platform's the newer file stays.
    """
    total, old = 0, []
    for paths in _streams(layout, app_id, Query()).values():
        paths.sort(key=_first_stamp)
        ring = _RING.fullmatch(paths[-1].name)
        writing = ring is None or ring[1] in live
        for path in paths:
            status = _status(path)
            if status is None:
                continue
            total += status.st_size
            if not (writing and path == paths[-1]) and (status.st_size or not writing):
                old.append(_Old(path, status.st_size, status.st_mtime, writing and ring is not None))
    freed = 0
    for file in sorted(old, key=lambda file: file.mtime):
        if total - freed <= cap_bytes:
            break
        try:
            if file.open:
                os.truncate(file.path, 0)
            else:
                file.path.unlink()
        except OSError:
            continue
        freed += file.size
    return freed


def remove_router_files(layout: Layout, app_id: str) -> None:
    """Delete what router workers wrote about a destroyed app."""
    for path in _router_files(layout, app_id):
        path.unlink(missing_ok=True)


def _streams(layout: Layout, app_id: str, query: Query) -> dict[str, list[Path]]:
    """Writer → its files, of those that can hold wanted lines."""
    streams: dict[str, list[Path]] = defaultdict(list)
    for path in _listed(layout.logs / app_id):
        ring = _RING.fullmatch(path.name)
        if ring is not None:
            if query.source in ("router", "api") or (
                query.instances is not None and ring[1] not in query.instances
            ):
                continue
            streams[ring[1]].append(path)
        elif path.name in ("platform.log", "platform.old.log") and _platform_wanted(query):
            streams["platform"].append(path)
    if query.source in (None, "paas", "router") and query.instances is None:
        for path in _router_files(layout, app_id):
            streams["router" + path.name.split(".")[1]].append(path)
    return streams


def _platform_wanted(query: Query) -> bool:
    return query.source not in ("app", "router") and query.instances is None


def _router_files(layout: Layout, app_id: str) -> list[Path]:
    return [path for path in _listed(layout.logs / "router") if path.name.startswith(app_id + ".")]


def _listed(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.path) for entry in entries if entry.name.endswith(".log")]
    except OSError:
        return []


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _open(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None


def _backwards(files: list[Path], query: Query, ends: Mapping[int, int] | None) -> Iterator[bytes]:
    """Wanted lines of one writer, newest first."""
    for path in sorted(files, key=_first_stamp, reverse=True):
        for line in _reversed_lines(path, ends):
            if query.since is not None and _HEAD.match(line) and line[:_STAMP].decode() < query.since:
                return
            if query.wants(line):
                yield line


def _first_stamp(path: Path) -> bytes:
    fd = _open(path)
    if fd is None:
        return b""
    try:
        return os.pread(fd, _STAMP, 0)
    finally:
        os.close(fd)


def _reversed_lines(path: Path, ends: Mapping[int, int] | None) -> Iterator[bytes]:
    """Whole lines from the end of a file to its beginning; a last line without newline is not whole."""
    fd = _open(path)
    if fd is None:
        return
    try:
        status, unread, whole = os.fstat(fd), b"", False
        position = status.st_size if ends is None else ends.get(status.st_ino, 0)
        if status.st_size < position:
            return  # it was emptied since: what it holds now comes behind the end
        while position > 0:
            size = min(_CHUNK, position)
            position -= size
            lines = (os.pread(fd, size, position) + unread).split(b"\n")
            unread = lines.pop(0)
            for line in reversed(lines):
                if whole:
                    yield line
                whole = True
        if whole and unread:
            yield unread
    finally:
        os.close(fd)


def _last_line_end(path: Path, size: int) -> int:
    fd = _open(path)
    if fd is None:
        return 0
    try:
        start = max(0, size - 2 * MAX_LINE_BYTES)
        return start + os.pread(fd, size - start, start).rfind(b"\n") + 1
    finally:
        os.close(fd)


def _lines_from(path: Path, inode: int, offset: int) -> tuple[list[bytes], int]:
    """Whole lines behind `offset` (at most some of a flood), and where the next read begins; none of another file
    that has come in its place."""
    fd = _open(path)
    if fd is None:
        return [], offset
    try:
        if os.fstat(fd).st_ino != inode:
            return [], offset
        data = os.pread(fd, 16 * _CHUNK, offset)
    finally:
        os.close(fd)
    end = data.rfind(b"\n") + 1
    return data[:end].split(b"\n")[:-1], offset + end

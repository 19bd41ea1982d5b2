"""A deterministic tar stream: the same entries give the same bytes, on every machine and at every time.

POSIX ustar headers, with pax records for names that do not fit ustar (pax(1), «ustar Interchange Format» and
«pax Header Block»). Owner and times are arguments with fixed defaults.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable

BLOCK = 512
LAYER_MTIME = 315532800
"""Seconds; 1980-01-01, the earliest time that zip files, and so Python wheels, can hold."""
APP_OWNER = 1000
Owner = tuple[int, int]
"""User and group, as numbers inside a container: 0 to 65535."""

APP: Owner = (APP_OWNER, APP_OWNER)
MAX_SIZE = 8**11 - 1

REGULAR, HARD_LINK, SYMLINK, DIRECTORY, PAX = b"0", b"1", b"2", b"5", b"x"

_HEADER = struct.Struct("100s8s8s8s12s12s8s1s100s6s2s32s32s8s8s155s12x")
_PAX_NAME = b"PaxHeaders/entry"


class TarWriter:
    """Writes entries to `write` as they come; `offset` counts the bytes written so far."""

    def __init__(
        self, write: Callable[[bytes], object], *, owner: int = APP_OWNER, mtime: int = LAYER_MTIME
    ) -> None:
        self._write = write
        self._owner = (owner, owner)
        self._mtime = mtime
        self.offset = 0

    def directory(self, path: bytes, mode: int = 0o755, owner: Owner | None = None) -> None:
        """Add a folder; `path` without a slash at its end."""
        self._entry(path + b"/", DIRECTORY, mode, owner)

    def symlink(self, path: bytes, target: bytes, owner: Owner | None = None) -> None:
        self._entry(path, SYMLINK, 0o777, owner, link=target)

    def hard_link(self, path: bytes, target: bytes, mode: int = 0o644, owner: Owner | None = None) -> None:
        """Another name for the regular file `target`, an earlier entry of this archive; tools that read it may give the
        file this mode and owner."""
        self._entry(path, HARD_LINK, mode, owner, link=target)

    def file(
        self, path: bytes, mode: int, size: int, chunks: Iterable[bytes], owner: Owner | None = None
    ) -> int:
        """Add a regular file of exactly `size` bytes; returns the offset of its content in the stream.

        Raises ValueError when `chunks` hold more or fewer bytes: the stream is unusable then.
        """
        self._entry(path, REGULAR, mode, owner, size=size)
        start = self.offset
        for chunk in chunks:
            self._put(chunk)
        if self.offset - start != size:
            raise ValueError(f"{path!r} has {self.offset - start} bytes where {size} were announced")
        if padding := -size % BLOCK:
            self._put(bytes(padding))
        return start

    def finish(self) -> None:
        """The two zero blocks that end an archive."""
        self._put(bytes(2 * BLOCK))

    def _entry(
        self, path: bytes, kind: bytes, mode: int, owner: Owner | None, *, size: int = 0, link: bytes = b""
    ) -> None:
        owner = owner or self._owner
        for block in headers(path, kind, mode, size=size, link=link, owner=owner, mtime=self._mtime):
            self._put(block)

    def _put(self, data: bytes) -> None:
        self._write(data)
        self.offset += len(data)


def headers(
    path: bytes, kind: bytes, mode: int, *, size: int = 0, link: bytes = b"", owner: Owner, mtime: int
) -> list[bytes]:
    """The header blocks of one entry: a pax header first when a name or the link does not fit ustar.

    Raises ValueError for an empty name, a NUL byte or a size of 8 GiB and more.
    """
    if not path or b"\0" in path or b"\0" in link:
        raise ValueError(f"{path!r} cannot be the name of an archive entry")
    if not 0 <= size <= MAX_SIZE:
        raise ValueError(f"{path!r}: {size} bytes do not fit an archive entry")
    records = {}
    prefix, name = b"", path
    if len(path) > 100:
        prefix, name = _split(path)
        if not name:
            records[b"path"], name = path, path[:100]
    if len(link) > 100:
        records[b"linkpath"] = link
        link = link[:100]
    blocks = []
    if records:
        body = _records(records)
        blocks.append(_ustar(_PAX_NAME, PAX, 0o644, size=len(body), owner=owner, mtime=mtime))
        blocks.append(body + bytes(-len(body) % BLOCK))
    blocks.append(_ustar(name, kind, mode, size=size, link=link, prefix=prefix, owner=owner, mtime=mtime))
    return blocks


def _split(path: bytes) -> tuple[bytes, bytes]:
    """ustar's prefix and name: the first slash that leaves a name of at most 100 bytes; no name: impossible."""
    cut = path.find(b"/", len(path) - 101)
    if 0 < cut <= 155 and path[cut + 1 :]:
        return path[:cut], path[cut + 1 :]
    return b"", b""


def _records(records: dict[bytes, bytes]) -> bytes:
    """pax records; bytes that are not UTF-8 are announced by `hdrcharset=BINARY`."""
    try:
        b"".join(records.values()).decode()
    except UnicodeDecodeError:
        records = {b"hdrcharset": b"BINARY", **records}
    return b"".join(_record(key, value) for key, value in records.items())


def _record(key: bytes, value: bytes) -> bytes:
    tail = b" " + key + b"=" + value + b"\n"
    length = len(tail) + 1  # counts its own digits, so it is found by trying
    while len(b"%d" % length) + len(tail) != length:
        length = len(b"%d" % length) + len(tail)
    return b"%d" % length + tail


def _ustar(
    name: bytes,
    kind: bytes,
    mode: int,
    *,
    size: int,
    link: bytes = b"",
    prefix: bytes = b"",
    owner: Owner,
    mtime: int,
) -> bytes:
    uid, gid = (b"%07o\0" % number for number in owner)
    block = _HEADER.pack(
        name, b"%07o\0" % mode, uid, gid, b"%011o\0" % size, b"%011o\0" % mtime, b" " * 8, kind, link,
        b"ustar\0", b"00", b"", b"", b"0000000\0", b"0000000\0", prefix,
    )  # fmt: skip
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]

"""Reads a hostile tar stream: strict, streaming, bounded.

Accepts the output of GNU tar, git and container tools for plain trees: ustar, the pax records `path`, `linkpath` and
`size`, GNU long names. Refuses sparse files, devices, base-256 numbers and bad checksums.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from runtime.image.errors import BadArchive
from runtime.image.names import shown
from runtime.image.tarwriter import BLOCK, Owner

Read = Callable[[int], bytes]
"""Like `io.RawIOBase.read`: at most n bytes, fewer are possible, empty at the end."""

Kind = Literal["file", "directory", "symlink", "hard_link"]
MAX_EXTENSION = 64 * 1024
MAX_EXTENSIONS = 16
"""Extension headers before one entry."""
CHUNK = 1024 * 1024

_KINDS: dict[bytes, Kind] = {
    b"0": "file", b"\0": "file", b"7": "file", b"1": "hard_link", b"2": "symlink", b"5": "directory",
}  # fmt: skip
_REFUSED = {b"3": "a character device", b"4": "a block device", b"6": "a FIFO", b"S": "a sparse file"}
_NODES = frozenset(_REFUSED) - {b"S"}
_OCTAL = re.compile(rb" *([0-7]{1,11})[ \0]*")
_RECORD = re.compile(rb"([1-9][0-9]{0,5}) ([^=\n\0]+)=")
_IGNORED = (b"mtime", b"atime", b"ctime", b"uname", b"gname", b"comment", b"hdrcharset")


@dataclass(frozen=True)
class Entry:
    """One member: `path` and `target` exactly as written, `mode` the lower twelve bits.

    `owner` is None if the archive writes it in another way than as octal or, in a pax record, decimal digits.
    """

    path: bytes
    kind: Kind
    mode: int
    size: int
    target: bytes
    owner: Owner | None


class TarReader:
    """Iterate for entries; `content()` yields the current file's bytes and must be used before the next entry.

    With `foreign` devices and FIFOs are left out instead of refused, and the end mark may be missing, as it is in layers
    that umoci makes.
    """

    def __init__(self, read: Read, *, foreign: bool = False) -> None:
        self._read, self._foreign = read, foreign
        self._left = 0
        self._padding = 0

    def __iter__(self) -> Iterator[Entry]:
        extra: dict[bytes, bytes] = {}
        extensions = 0
        while True:
            self._skip()
            block = self._exactly(BLOCK, or_nothing=self._foreign)
            if block == bytes(BLOCK) or not block:
                if extra:
                    raise BadArchive("the archive ends after an extension header")
                return
            size, kind = _checked(block)
            if kind in (b"x", b"L", b"K", b"g"):
                extensions += 1
                if extensions > MAX_EXTENSIONS:
                    raise BadArchive(f"more than {MAX_EXTENSIONS} extension headers before one entry")
                self._extension(kind, size, extra)
                continue
            extensions = 0
            if self._foreign and kind in _NODES:
                extra, self._left, self._padding = {}, size, -size % BLOCK
                continue
            entry = _entry(block, kind, size, extra)
            extra = {}
            self._left = entry.size
            self._padding = -entry.size % BLOCK
            yield entry

    def content(self) -> Iterator[bytes]:
        """The bytes of the entry that was yielded last, in pieces. Raises BadArchive when the stream ends."""
        while self._left:
            chunk = self._read(min(self._left, CHUNK))
            if not chunk:
                raise BadArchive("the archive ends within a file")
            self._left -= len(chunk)
            yield chunk

    def skip(self) -> int:
        """Leave the content of the entry that was yielded last to a reader that can seek: how many bytes it must pass over."""
        length, self._left, self._padding = self._left + self._padding, 0, 0
        return length

    def _extension(self, kind: bytes, size: int, extra: dict[bytes, bytes]) -> None:
        if size > MAX_EXTENSION:
            raise BadArchive(f"an extension header of {size} bytes, more than {MAX_EXTENSION}")
        body = self._exactly(size)
        self._exactly(-size % BLOCK)
        if kind in (b"L", b"K"):
            _put(extra, b"path" if kind == b"L" else b"linkpath", body.rstrip(b"\0"))
            return
        for key, value in _records(body):
            if key.startswith(b"GNU.sparse"):
                raise BadArchive("a sparse file")
            if key in (b"uid", b"gid"):
                if kind == b"x":
                    _put(extra, key, value)
            elif key not in (b"path", b"linkpath", b"size"):
                if key not in _IGNORED and not key.startswith((b"SCHILY.", b"LIBARCHIVE.")):
                    raise BadArchive(f"pax record {shown(key)} is not known")
            elif kind == b"g":
                raise BadArchive(f"pax record {shown(key)} for the whole archive")
            else:
                _put(extra, key, value)

    def _skip(self) -> None:
        for _ in self.content():
            pass
        if self._padding:
            self._exactly(self._padding, or_nothing=self._foreign)
            self._padding = 0

    def _exactly(self, size: int, *, or_nothing: bool = False) -> bytes:
        data = self._read(size) if size else b""
        if or_nothing and not data:
            return data
        while len(data) < size:
            more = self._read(size - len(data))
            if not more:
                raise BadArchive("the archive ends before its end mark")
            data += more
        return data


def _put(extra: dict[bytes, bytes], key: bytes, value: bytes) -> None:
    if key in extra or not value or b"\0" in value:
        raise BadArchive(f"extension {key.decode()} is empty, given twice or holds a NUL byte")
    extra[key] = value


def _checked(block: bytes) -> tuple[int, bytes]:
    """Size and type flag of a header block whose checksum and magic are right."""
    if block[257:265] not in (b"ustar\x0000", b"ustar  \0"):
        raise BadArchive("not a ustar or GNU tar header")
    if _number(block[148:156], "checksum") != sum(block[:148]) + 8 * 32 + sum(block[156:]):
        raise BadArchive("a header with a wrong checksum")
    return _number(block[124:136], "size"), block[156:157]


def _entry(block: bytes, kind: bytes, size: int, extra: dict[bytes, bytes]) -> Entry:
    path, target = _text(block[:100]), _text(block[157:257])
    if block[257:263] == b"ustar\0" and block[345] and not extra.get(b"path"):
        path = _text(block[345:500]) + b"/" + path
    path = extra.get(b"path", path)
    target = extra.get(b"linkpath", target)
    if b"size" in extra:
        if not re.fullmatch(rb"[0-9]{1,15}", extra[b"size"]):
            raise BadArchive(f"{shown(path)}: pax size {shown(extra[b'size'])}")
        size = int(extra[b"size"])
    if kind in _REFUSED:
        raise BadArchive(f"{shown(path)}: {_REFUSED[kind]} has no place in a layer")
    if kind not in _KINDS:
        raise BadArchive(f"{shown(path)}: unknown entry type {shown(kind)}")
    name = _KINDS[kind]
    if name != "file" and size:
        raise BadArchive(f"{shown(path)}: a {name.replace('_', ' ')} of {size} bytes")
    if name == "file" and path.endswith(b"/"):
        raise BadArchive(f"{shown(path)}: a file whose name ends with a slash")
    if (name in ("symlink", "hard_link")) != bool(target):
        raise BadArchive(f"{shown(path)}: a {name.replace('_', ' ')} with{'' if target else 'out'} a target")
    owner = _id(block[108:116], extra.get(b"uid")), _id(block[116:124], extra.get(b"gid"))
    mode = _number(block[100:108], "mode") & 0o7777
    return Entry(path, name, mode, size, target, None if -1 in owner else owner)


def _id(field: bytes, record: bytes | None) -> int:
    """A user or group; -1 if it is written in a way that is not read here."""
    if record is not None:
        return int(record) if re.fullmatch(rb"[0-9]{1,10}", record) else -1
    return int(match.group(1), 8) if (match := _OCTAL.fullmatch(field)) else -1


def _number(field: bytes, what: str) -> int:
    """A numeric header field: octal digits alone; no sign, no base-256."""
    match = _OCTAL.fullmatch(field)
    if match is None:
        raise BadArchive(f"{what} {shown(field)} is not an octal number")
    return int(match.group(1), 8)


def _text(field: bytes) -> bytes:
    return field.split(b"\0", 1)[0]


def _records(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """pax records, «%d %s=%s\\n», each as long as it says."""
    position = 0
    while position < len(body):
        match = _RECORD.match(body, position)
        if match is None:
            raise BadArchive("a pax header that is not made of records")
        end = position + int(match.group(1))
        if end > len(body) or end <= match.end() or body[end - 1 : end] != b"\n":
            raise BadArchive("a pax record with a wrong length")
        yield match.group(2), body[match.end() : end - 1]
        position = end

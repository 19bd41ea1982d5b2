"""The chunked transfer coding (RFC 9112 section 7.1): a strict reader and a plain writer. Pure.

A pattern checks sizes before they are converted (int(x, 16) takes signs, blanks, underscores and 0x), every line must
end in CRLF, extensions are bounded and dropped, trailers are checked like header lines.
"""

from __future__ import annotations

import re
from typing import Final

from router.wire.heads import CRLF, BadHead, split_field

MAX_SIZE_LINE_BYTES: Final = 272
MAX_TRAILER_BYTES: Final = 8192

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]{0,256})?")
_SINGLE = re.compile(rb"([1-9A-Fa-f][0-9A-Fa-f]{0,7})\r\n").match
_SINGLE_END: Final = b"\r\n0\r\n\r\n"
_FORBIDDEN_TRAILERS: Final = frozenset(
    (
        b"host content-length transfer-encoding connection trailer te upgrade expect authorization "
        b"proxy-authorization cookie set-cookie content-type content-encoding content-range cache-control "
        b"max-forwards range location date age via keep-alive proxy-connection forwarded x-real-ip "
        b"x-request-id x-request-start"
    ).split()
)

_SIZE, _DATA, _DATA_END, _TRAILERS, _DONE = range(5)
_CR: Final = 13


class BadChunk(Exception):
    """The bytes are not the chunked coding, or too many. `status` answers the client that sent them."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


class ChunkReader:
    """Decodes a chunked body that comes in any split.

    `done` is set after the last CRLF; then `leftover` has the bytes behind it, and `trailers` the lines that may be
    passed on, each with its CRLF.
    """

    __slots__ = ("_held", "_left", "_state", "done", "leftover", "trailers")

    def __init__(self) -> None:
        self._state = _SIZE
        self._left = 0
        self._held = b""
        self.done = False
        self.leftover = b""
        self.trailers = b""

    def feed(self, data: bytes) -> bytes:
        """The body bytes in `data`. Raises BadChunk; the reader must not be used after that."""
        if self._state == _DATA and len(data) < self._left:
            self._left -= len(data)
            return data
        pieces: list[bytes] = []
        at = 0
        if self._held:
            data = self._held + data
            self._held = b""
        size = len(data)
        while at < size:
            if self._state == _DATA:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._state = _DATA_END
            elif self._state == _DATA_END:
                if size - at < 2:
                    if data[at] != _CR:
                        raise BadChunk("chunk data does not end in CRLF")
                    break
                if data[at : at + 2] != CRLF:
                    raise BadChunk("chunk data does not end in CRLF")
                at += 2
                self._state = _SIZE
            else:
                end = self._line_end(data, at)
                if end < 0:
                    break
                self._line(data[at:end])
                at = end + 2
                if self._state == _DONE:
                    self.done = True
                    self.leftover = data[at:]
                    at = size
        self._held = data[at:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _line_end(self, data: bytes, at: int) -> int:
        """The position of the CRLF that ends the line at `at`; -1 when more bytes are needed."""
        feed = data.find(b"\n", at)
        limit = MAX_SIZE_LINE_BYTES if self._state == _SIZE else MAX_TRAILER_BYTES
        if feed < 0:
            carriage = data.find(b"\r", at)
            if len(data) - at > limit or 0 <= carriage < len(data) - 1:
                raise BadChunk("a chunk line without CRLF")
            return -1
        if feed == at or data[feed - 1] != _CR or feed - at > limit:
            raise BadChunk("a chunk line does not end in CRLF")
        return feed - 1

    def _line(self, line: bytes) -> None:
        if self._state == _SIZE:
            match = _SIZE_LINE.fullmatch(line)
            if match is None:
                raise BadChunk("malformed chunk size")
            self._left = int(match[1], 16)
            self._state = _DATA if self._left else _TRAILERS
        elif not line:
            self._state = _DONE
        else:
            try:
                name, _ = split_field(line)
            except BadHead as error:
                raise BadChunk(f"trailer: {error}") from error
            if name not in _FORBIDDEN_TRAILERS and not name.startswith(b"x-forwarded-") and b"_" not in name:
                self.trailers += line + CRLF
            self._left += len(line)
            if self._left > MAX_TRAILER_BYTES:
                raise BadChunk(f"more than {MAX_TRAILER_BYTES} bytes of trailers")


def single(data: bytes) -> bytes | None:
    """The body, if `data` is one chunk and the end without trailers, which most short bodies are; else None."""
    match = _SINGLE(data)
    if match is None or not data.endswith(_SINGLE_END):
        return None
    start, end = match.end(), len(data) - len(_SINGLE_END)
    return data[start:end] if end - start == int(match[1], 16) else None


def encode(data: bytes, head: bytes = b"") -> bytes:
    """`head` and one chunk with `data`; no chunk for no data, because an empty one would end the body."""
    return b"%b%x\r\n%b\r\n" % (head, len(data), data) if data else head


def encode_end(trailers: bytes = b"", data: bytes = b"", head: bytes = b"") -> bytes:
    """`head`, one chunk with `data` if there is some, and the last chunk with its trailer lines."""
    if data:
        return b"%b%x\r\n%b\r\n0\r\n%b\r\n" % (head, len(data), data, trailers)
    return b"%b0\r\n%b\r\n" % (head, trailers)


def passed_trailers(lines: bytes) -> bytes:
    """Those of the trailer lines that are passed on. Raises BadChunk."""
    reader = ChunkReader()
    reader.feed(encode_end(lines))
    return reader.trailers

"""Response compression: gzip for clients that accept it, of content that gains by it, while it passes through.

What is held back to be compressed is flushed whenever the backend pauses. Each body that is being compressed takes
128 KiB, so their number is bounded; beyond it answers pass as they are.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, Any, Final

from router.io.stream import READ_BYTES
from router.wire.chunked import BadChunk, ChunkReader, encode, encode_end
from router.wire.heads import CRLF, Remembered
from router.wire.response import CHUNKED, UNTIL_CLOSE

if TYPE_CHECKING:
    from router.back.connection import BackendConnection
    from router.middle.exchange import Exchange

LEVEL: Final = 4
MIN_BYTES: Final = 1024
MOST: Final = 512
SQUEEZED: Final = -3
"""Beside UNTIL_CLOSE and CHUNKED: the length of a body that is compressed."""
PIECES_A_TURN: Final = 4
"""How many pieces of bodies are compressed in one turn of the loop before others wait for the next."""

_NO_TRANSFORM = re.compile(rb"\r\ncache-control:[^\r]*no-transform", re.IGNORECASE)
_ACCEPT = re.compile(rb"\r\naccept-encoding:([^\r]*)", re.IGNORECASE)
_QUALITY = re.compile(
    rb"(\*|[!#$%&'+\-.^_`|~0-9a-z]+)(?:[ \t]*;[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?"
)
_GAINS = re.compile(
    rb"(?:text/(?!event-stream)[a-z0-9.+-]+|application/(?:[a-z0-9.+-]+\+)?(?:json|xml|javascript|wasm)"
    rb"|application/(?:x-javascript|x-ndjson|graphql|rtf|xhtml\+xml|vnd\.ms-fontobject|x-font-ttf)"
    rb"|image/(?:svg\+xml|bmp|x-icon|vnd\.microsoft\.icon)|font/(?:ttf|otf|collection))[ \t]*(?:;|$)"
)
_DIGESTS: Final = frozenset((b"content-digest", b"digest", b"content-md5", b"repr-digest", b"content-range"))


def _judge(value: bytes) -> bool:
    weights: dict[bytes, float] = {}
    for part in value.lower().split(b","):
        match = _QUALITY.fullmatch(part.strip(b" \t"))
        if match is not None:
            weights[match[1]] = float(match[2] or 1)
    return max(weights.get(b"gzip", -1.0), weights.get(b"x-gzip", -1.0), -1.0) > 0 or (
        b"gzip" not in weights and b"x-gzip" not in weights and weights.get(b"*", 0.0) > 0
    )


_accepts = Remembered(_judge, 256)


def accepts_gzip(head: bytes) -> bool:
    """Whether a request head wants gzip (RFC 9110 section 12.5.3), and not the bytes as they are (RFC 9111 5.2.1.6)."""
    values = _ACCEPT.findall(head)
    return bool(values) and bool(_accepts[b",".join(values)]) and _NO_TRANSFORM.search(head) is None


class Squeeze:
    """The compression of one answer to a client of HTTP/1.`minor`; `wanted`: it accepts gzip. After `begin`, `active`
    says that the body goes through `take`; `done` that it is complete, `excess` that the backend sent more; `sent`
    counts bytes of gzip."""

    __slots__ = (
        "_chunks",
        "_deflate",
        "_left",
        "_method",
        "_minor",
        "active",
        "done",
        "excess",
        "sent",
        "until_close",
        "wanted",
    )

    now_active = 0
    """In this process."""

    def __init__(self, method: bytes, minor: int, *, wanted: bool) -> None:
        self.wanted = wanted
        self.active = self.done = self.excess = self.until_close = False
        self._method = method
        self._minor = minor
        self.sent = 0
        self._left = 0
        self._chunks: ChunkReader | None = None
        self._deflate: Any = None

    def begin(self, head: bytes, status: int, length: int) -> tuple[bytes, int]:
        """The head (start line and lines, CRLF ended) and the length as they have to be; `length` as in ResponseMeaning,
        0 for no body."""
        fields = [(line.partition(b":")[0].lower(), line) for line in head.split(CRLF)[1:-1]]
        start = head[: head.find(CRLF) + 2]
        if status == 304:
            fields = [_weakened(*field) if self.wanted else field for field in fields]
            return start + _joined(_varying(fields)), length
        if not _gains(fields, status):
            return head, length
        fields = _varying(fields)
        enough = length < 0 or length >= MIN_BYTES
        if self.wanted and enough and self._method != b"HEAD" and Squeeze.now_active < MOST:
            self._start(length)
            length = SQUEEZED
            dropped = (b"content-length", b"accept-ranges", b"content-encoding")
            fields = [_weakened(*field) for field in fields if field[0] not in dropped]
            fields.append((b"content-encoding", b"Content-Encoding: gzip"))
        return start + _joined(fields), length

    def _start(self, length: int) -> None:
        self.active = True
        Squeeze.now_active += 1
        self._deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, 16 + 14, 7)
        self.until_close = length == UNTIL_CLOSE
        if length == CHUNKED:
            self._chunks = ChunkReader()
        else:
            self._left = length

    def take(self, data: bytes, *, pause: bool) -> bytes:
        """The bytes for the client for these from the backend; with `pause`, nothing is held back. Raises BadChunk."""
        trailers = b""
        if self._chunks is not None:
            data = self._chunks.feed(data)
            self.done, trailers = self._chunks.done, self._chunks.trailers
            self.excess = bool(self._chunks.rest)
        elif not self.until_close:
            self.excess = len(data) > self._left
            data = data[: self._left]
            self._left -= len(data)
            self.done = not self._left
        return self._put(data, trailers, pause=pause)

    def end(self) -> bytes:
        """The last bytes for the client, of a body that ends with the connection."""
        self.done = True
        return self._put(b"", b"", pause=False)

    def _put(self, data: bytes, trailers: bytes, *, pause: bool) -> bytes:
        squeezed: bytes = self._deflate.compress(data)
        if self.done:
            squeezed += self._deflate.flush()
        elif pause and data:
            squeezed += self._deflate.flush(zlib.Z_SYNC_FLUSH)
        self.sent += len(squeezed)
        if not self._minor:
            return squeezed
        return encode(squeezed) + encode_end(trailers) if self.done else encode(squeezed)

    def __del__(self) -> None:
        if self.active:
            Squeeze.now_active -= 1


def pass_on(connection: BackendConnection, exchange: Exchange, data: bytes, head: bytes) -> None:
    """A part of the body has come; with the head in front when it has not gone out yet."""
    squeeze = exchange.squeeze
    assert squeeze is not None
    try:
        data = head + squeeze.take(data, pause=len(data) < READ_BYTES)
    except BadChunk as error:
        if head:
            exchange.status = 0  # nothing has gone out yet: say that the answer was bad
        connection.bad(exchange, error)
        return
    exchange.body_bytes = squeeze.sent
    if squeeze.done:
        connection.lasting = connection.lasting and not squeeze.excess
        connection.last(exchange, data)
    elif data:
        connection.deliver(exchange, data)
        connection.proxy.worked(connection)


def end(connection: BackendConnection, exchange: Exchange, squeeze: Squeeze) -> None:
    """The connection that ended the body has been closed."""
    connection.lasting = False
    data = squeeze.end()
    exchange.body_bytes = squeeze.sent
    connection.last(exchange, data)


def _gains(fields: list[tuple[bytes, bytes]], status: int) -> bool:
    """Whether the answer is of a kind that is compressed."""
    if status < 200 or status in (204, 205, 206):
        return False
    kind = b""
    for name, line in fields:
        value = line.partition(b":")[2].strip(b" \t").lower()
        encoded = name == b"content-encoding" and value != b"identity"
        if name == b"content-type":
            kind = value
        elif name in _DIGESTS or encoded or (name == b"cache-control" and b"no-transform" in value):
            return False
    return _GAINS.match(kind) is not None


def _varying(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The fields with Accept-Encoding among what the answer varies by."""
    values = [line.partition(b":")[2].strip(b" \t") for name, line in fields if name == b"vary"]
    tokens = {token.strip(b" \t").lower() for value in values for token in value.split(b",")}
    if tokens & {b"*", b"accept-encoding"}:
        return fields
    merged = b", ".join([*filter(None, values), b"Accept-Encoding"])
    return [*(field for field in fields if field[0] != b"vary"), (b"vary", b"Vary: " + merged)]


def _weakened(name: bytes, line: bytes) -> tuple[bytes, bytes]:
    """A strong ETag made weak: the bytes are no longer those it names (RFC 9110 section 8.8.1)."""
    value = line.partition(b":")[2].strip(b" \t")
    return (name, b"ETag: W/" + value) if name == b"etag" and not value.startswith(b"W/") else (name, line)


def _joined(fields: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(line + CRLF for _, line in fields)

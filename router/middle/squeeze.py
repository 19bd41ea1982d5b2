"""Response compression: gzip for clients that accept it, of content that gains by it, while it passes through.

What is held back to be compressed is flushed whenever the backend pauses. Each body that is being compressed takes
128 KiB, so their number is bounded; beyond it answers pass as they are.
"""

from __future__ import annotations

import re
import zlib
from collections import deque
from typing import Any, Final

from router.io.loop import Loop
from router.middle.sides import Upstream
from router.wire.cache import Cache
from router.wire.heads import CRLF

LEVEL: Final = 4
MIN_BYTES: Final = 1024
MOST: Final = 512
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


_accepts = Cache(_judge, 256)


def accepts_gzip(head: bytes) -> bool:
    """Whether a request head wants gzip (RFC 9110 section 12.5.3), and not the bytes as they are (RFC 9111 5.2.1.6)."""
    values = _ACCEPT.findall(head)
    return bool(values) and bool(_accepts[b",".join(values)]) and _NO_TRANSFORM.search(head) is None


class Squeeze:
    """The compression of one answer; `wanted`: the client accepts gzip. After `begin`, `active` says that the body goes
    through `take`. `sent` counts bytes of gzip."""

    __slots__ = ("_deflate", "_method", "active", "sent", "wanted")

    now_active = 0
    """The number of bodies that are being compressed in this process."""

    def __init__(self, method: bytes, *, wanted: bool) -> None:
        self.wanted = wanted
        self.active = False
        self._method = method
        self.sent = 0
        self._deflate: Any = None

    def begin(self, lines: bytes, status: int, length: int) -> bytes:
        """The header lines (CRLF ended) as they have to be; `length` as in ResponseMeaning, 0 for no body. The length
        of a body that is compressed is not known."""
        fields = [(line.partition(b":")[0].lower(), line) for line in lines.split(CRLF)[:-1]]
        if status == 304:
            return _joined(_varying([_weakened(*field) if self.wanted else field for field in fields]))
        if not _gains(fields, status):
            return lines
        fields = _varying(fields)
        enough = length < 0 or length >= MIN_BYTES
        if self.wanted and enough and self._method != b"HEAD" and Squeeze.now_active < MOST:
            self.active = True
            Squeeze.now_active += 1
            self._deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, 16 + 14, 7)
            dropped = (b"content-length", b"accept-ranges", b"content-encoding")
            fields = [_weakened(*field) for field in fields if field[0] not in dropped]
            fields.append((b"content-encoding", b"Content-Encoding: gzip"))
        return _joined(fields)

    def take(self, data: bytes, *, done: bool, pause: bool) -> bytes:
        """The bytes for the client for these of the body; with `pause` nothing is held back, `done`: they are the
        last."""
        if not (data or done):
            return b""
        squeezed: bytes = self._deflate.compress(data)
        if done:
            squeezed += self._deflate.flush()
        elif pause:
            squeezed += self._deflate.flush(zlib.Z_SYNC_FLUSH)
        self.sent += len(squeezed)
        return squeezed

    def __del__(self) -> None:
        if self.active:
            Squeeze.now_active -= 1


class CompressionTurns:
    """Compressing takes long: after some pieces in one turn of the loop, connections are not read until others have
    had their turn."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._pieces = 0
        self._paused: deque[Upstream] = deque()

    def count(self, upstream: Upstream) -> None:
        """A piece of a body was compressed."""
        self._pieces += 1
        self._loop.work_after_batch(self._next_turn)
        if self._pieces > PIECES_A_TURN:
            upstream.pause()
            self._paused.append(upstream)

    def _next_turn(self) -> bool:
        """Read some connections again; whether there is more to do."""
        self._pieces = 0
        for _ in range(min(PIECES_A_TURN, len(self._paused))):
            self._paused.popleft().read_on()
        return bool(self._paused)


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

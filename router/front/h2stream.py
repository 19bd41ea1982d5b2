"""A stream of HTTP/2: a client of its own with one request, without a descriptor.

It gives its request to the ordinary reading of requests as the head of HTTP/1.1 that says the same, and takes the
answer apart again. So a request is the same to everything behind, whichever version it came in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from router.front.http1 import ClientConnection
from router.io.stream import BROKEN, PENDING, SENT
from router.wire.chunked import ChunkReader, encode, encode_end
from router.wire.h2fields import Field, response_fields, response_trailers
from router.wire.heads import HEAD_END
from router.wire.response import CHUNKED

if TYPE_CHECKING:
    from router.front.h2 import Http2Connection

NO_ERROR: Final = 0
PROTOCOL_ERROR: Final = 1
INTERNAL_ERROR: Final = 2
REFUSED_STREAM: Final = 7

FRAME_BYTES: Final = 16384


class Http2Stream(ClientConnection):
    """One request and its answer, without a descriptor. Of the request: `paused` while the backend takes no more,
    `held` bytes then, `unread` bytes of the windows not given back yet, `request_ended` when all has come. Of the
    answer: `blocks` of fields and `out` to be sent, `tail` its trailers, `left` bytes of the body to come (-1: until the end),
    `whole` when all of it is known, `closed` when all has been sent."""

    __slots__ = (
        "answering",
        "blocks",
        "chunks",
        "closed",
        "code",
        "connection",
        "held",
        "id",
        "left",
        "paused",
        "queued",
        "request_ended",
        "slow",
        "tail",
        "trailers",
        "unread",
        "whole",
    )

    def __init__(self, connection: Http2Connection, id: int, ended: bool) -> None:
        super().__init__(connection.proxy, -1, connection.address, connection.port)
        self.protocol = connection.protocol
        self.lines = connection.lines
        self.heads = connection.heads
        self.connection = connection
        self.id = id
        self.code = INTERNAL_ERROR
        """With which the stream is reset when its answer breaks off."""
        self.request_ended = ended
        self.paused = False
        self.held = b""
        self.trailers = b""
        self.unread = 0
        self.answering = False
        self.blocks: list[list[Field]] = []
        self.chunks: ChunkReader | None = None
        self.left = -1
        self.tail: list[Field] = []
        self.whole = False
        self.closed = False
        self.queued = False
        self.slow = False
        """Whoever sends waits for `drained`."""

    # the request's body

    def more(self, data: bytes, size: int, ended: bool) -> None:
        """A part of the body, `size` bytes of the windows, perhaps the last."""
        self.active = self.loop.now
        self.received += len(data)
        self.unread += size
        self.request_ended = ended
        if self.paused:
            self.held += data
        else:
            self._upload(data)

    def resume(self) -> None:
        exchange = self.exchange
        if self.paused and not (exchange is not None and exchange.connection is None):
            self.paused = False
            data, self.held = self.held, b""
            if data or self.request_ended:
                self._upload(data)
            else:
                self._acknowledge()

    def pause(self) -> None:
        self.paused = True

    def _upload(self, data: bytes) -> None:
        """Pass on what has come. What is no part of a body that was announced makes the request malformed."""
        exchange = self.exchange
        if exchange is not None and exchange.uploading:
            if exchange.meaning.length < 0:
                data = encode(data)
                if self.request_ended:
                    data += encode_end(self.trailers)
            if data:
                exchange.upload(data)
            if self.buffer or (self.request_ended and self.exchange is exchange and exchange.uploading):
                self.malformed()
        elif exchange is not None and data:
            self.malformed()
        self._acknowledge()

    def _acknowledge(self) -> None:
        if self.unread and not self.paused:
            self.connection.frames.acknowledge(self.id, self.unread)
            self.unread = 0
            self.connection.pump()

    def malformed(self) -> None:
        """The request is none: reset the stream (RFC 9113 8.1.1)."""
        self.code = PROTOCOL_ERROR
        self.lost()

    # the answer

    def send(self, data: bytes | memoryview) -> int:
        """As a Stream does; `data` is a part of an answer of HTTP/1.1, in which heads come whole."""
        connection = self.connection
        if connection.dead or self.id not in connection.streams:
            return BROKEN
        if not self.answering:
            data = self._heads(bytes(data))
        if data and not self.whole:
            self._body(data)
        connection.wake(self)
        connection.pump()
        if connection.dead:
            return BROKEN
        if not self.out and not self.blocks:
            return SENT
        self.slow = True
        return PENDING

    def _heads(self, data: bytes) -> bytes:
        """Take heads off, any number of 1xx and the final one; returns what follows that."""
        while data and not self.answering:
            end = data.find(HEAD_END)
            status, fields, length = response_fields(data[:end])
            data = data[end + 4 :]
            self.blocks.append(fields)
            if status >= 200:
                self.answering = True
                exchange = self.exchange
                without = status in (204, 304) or (exchange is not None and exchange.method == b"HEAD")
                if without or length == 0:
                    self.whole = True
                elif length == CHUNKED:
                    self.chunks = ChunkReader()
                else:
                    self.left = length
        return data

    def _body(self, data: bytes | memoryview) -> None:
        chunks = self.chunks
        if chunks is not None:
            data = chunks.feed(bytes(data))
            if chunks.done:
                self.whole = True
                self.tail = response_trailers(chunks.trailers)
        elif self.left >= 0:
            data = data[: self.left]
            self.left -= len(data)
            self.whole = self.left == 0
        if data:
            if self.out is None:
                self.out = bytearray(data)
            else:
                self.out += data

    def emit(self, frames: Any) -> bool:
        """Send what is to be sent, of the body at most one frame and what the windows allow; whether more may go."""
        while self.blocks:
            fields = self.blocks.pop(0)
            self.closed = self.whole and not self.blocks and not self.out and not self.tail
            frames.send_headers(self.id, fields, self.closed)
        out = self.out
        if out:
            wanted = min(len(out), FRAME_BYTES)
            size = min(wanted, frames.room(self.id))
            if size <= 0:
                return False
            data = out[:size]
            del out[:size]
            self.closed = self.whole and not out and not self.tail
            frames.send_body(self.id, data, self.closed, size < wanted)
            self.wrote()
            if out:
                return True
            self.out = None
        if self.whole and not self.closed:
            self.closed = True
            if self.tail:
                frames.send_headers(self.id, self.tail, True)
            else:
                frames.send_body(self.id, b"", True, False)
        if self.slow:
            self.slow = False
            self.drained()
        self._settle()
        return False

    def drained(self) -> None:
        exchange = self.exchange
        if exchange is not None and exchange.connection is not None:
            exchange.connection.resume()

    def finished(self, keep: bool) -> None:
        self.exchange = None
        if not self.whole:
            self.whole = True
            self.connection.wake(self)
            self.connection.pump()
        self._settle()

    def _settle(self) -> None:
        """Over when the answer has gone out and nobody waits for the stream: the rest of the request is not needed."""
        connection = self.connection
        if self.closed and self.exchange is None and connection.forget(self):
            if not self.request_ended:
                connection.frames.reset(self.id, NO_ERROR)
            connection.pump()

    def cut(self, *, reset: bool = False) -> None:
        """The answer has broken off, or will never be."""
        self.exchange = None
        self.out = None
        self.connection.reset(self, self.code)

"""A stream of HTTP/2: a client of its own with one request, without a descriptor.

It gives its request to the ordinary reading of requests as the head of HTTP/1.1 that says the same, and takes the
answer apart again. So a request is the same to everything behind, whichever version it came in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.front.http1 import Http1Connection
from router.io.stream import BROKEN, PENDING, SENT
from router.rules.failures import FAILURES
from router.wire import rewrite
from router.wire.chunked import BadChunk, ChunkReader, encode_end
from router.wire.h2fields import AnswerField, response_fields
from router.wire.h2wire import FRAME_BYTES, INTERNAL_ERROR, NO_ERROR, PROTOCOL_ERROR
from router.wire.response import ResponseMeaning, StatusLine

if TYPE_CHECKING:
    from router.front.h2 import Http2Connection
    from router.front.h2frames import Frames


class Http2Stream(Http1Connection):
    """One request and its answer, without a descriptor. Of the request: `paused` while the backend takes no more,
    `held` bytes then, `unread` bytes of the windows not given back yet, `request_ended` when all has come. Of the
    answer: `blocks` of fields and `out` to be sent, `tail` its trailers,
    `whole_known` when all of it is known, `closed` when all has been sent."""

    __slots__ = (
        "blocks",
        "closed",
        "code",
        "connection",
        "held",
        "id",
        "paused",
        "queued",
        "request_ended",
        "slow",
        "tail",
        "trailers",
        "unread",
        "whole_known",
    )

    def __init__(self, connection: Http2Connection, id: int, ended: bool) -> None:
        super().__init__(connection.proxy, -1, connection.address, connection.port)
        self.protocol = connection.protocol
        self.forward_lines = connection.forward_lines
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
        self.blocks: list[tuple[int, list[AnswerField]]] = []
        self.tail: list[AnswerField] = []
        self.whole_known = False
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
        if self.paused and not (exchange is not None and exchange.upstream is None):
            self.paused = False
            data, self.held = self.held, b""
            if data or self.request_ended:
                self._upload(data)
            else:
                self._acknowledge()

    def pause(self) -> None:
        self.paused = True

    def _upload(self, data: bytes) -> None:  # type: ignore[override]
        """Pass on what has come. What is no part of a body that was announced makes the request malformed."""
        exchange, body = self.exchange, self.body
        if exchange is not None and exchange.uploading and body is not None:
            done, trailers = self.request_ended, b""
            if exchange.meaning.length >= 0:
                data = body.take(data)
                if body.leftover or (done and not body.done):
                    self.malformed()
                    self._acknowledge()
                    return
                done = body.done
            elif done and self.trailers:
                reader = ChunkReader()
                try:
                    reader.feed(encode_end(self.trailers))
                except BadChunk:
                    exchange.fail(FAILURES["bad-request"], close=True)
                    self._acknowledge()
                    return
                trailers = reader.trailers
            if data or done:
                exchange.upload(data, done=done, trailers=trailers)
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

    def whole(self, status: StatusLine, meaning: ResponseMeaning, data: bytes, end: int) -> int:
        lines = rewrite.response_lines(data[status.end : end + 2], meaning)
        self.begin(status, lines, meaning.length)
        return self.end(data[end + 4 :], b"")

    def interim(self, status: StatusLine, lines: bytes) -> int:
        self.blocks.append((status.code, response_fields(lines + rewrite.VIA)))
        return self._pump()

    def begin(self, status: StatusLine, lines: bytes, length: int) -> None:
        self.blocks.append((status.code, response_fields(lines + rewrite.VIA)))

    def data(self, data: bytes | memoryview) -> int:
        if data:
            if self.out is None:
                self.out = bytearray(data)
            else:
                self.out += data
        return self._pump()

    def end(self, data: bytes | memoryview, trailers: bytes) -> int:
        self.whole_known = True
        self.tail = response_fields(trailers)
        return self.data(data)

    def answer(self, status: StatusLine, lines: bytes, body: bytes, *, keep: bool) -> int:
        self.blocks.append((status.code, response_fields(lines)))
        return self.end(body, b"")

    def _pump(self) -> int:
        connection = self.connection
        if connection.dead or self.id not in connection.streams:
            return BROKEN
        connection.wake(self)
        connection.pump()
        if connection.dead:
            return BROKEN
        if not self.out and not self.blocks:
            return SENT
        self.slow = True
        return PENDING

    def emit(self, frames: Frames) -> bool:
        """Send what is to be sent, of the body at most one frame and what the windows allow; whether more may go."""
        while self.blocks:
            status, fields = self.blocks.pop(0)
            self.closed = self.whole_known and not self.blocks and not self.out and not self.tail
            frames.send_headers(self.id, status, fields, self.closed)
        out = self.out
        if out:
            wanted = min(len(out), FRAME_BYTES)
            size = min(wanted, frames.room(self.id))
            if size <= 0:
                return False
            data = out[:size]
            del out[:size]
            self.closed = self.whole_known and not out and not self.tail
            frames.send_body(self.id, data, self.closed, size < wanted)
            self.wrote()
            if out:
                return True
            self.out = None
        if self.whole_known and not self.closed:
            self.closed = True
            if self.tail:
                frames.send_headers(self.id, 0, self.tail, True)
            else:
                frames.send_body(self.id, b"", True, False)
        if self.slow:
            self.slow = False
            self.drained()
        self._settle()
        return False

    def drained(self) -> None:
        exchange = self.exchange
        if exchange is not None and exchange.upstream is not None:
            exchange.upstream.resume()

    def finished(self, keep: bool) -> None:
        self.exchange = None
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

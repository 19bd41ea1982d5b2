"""HTTP/2 (RFC 9113): a connection whose streams are clients of their own, each with one request.

A stream gives its request to the ordinary reading of requests as the head of HTTP/1.1 that says the same, and takes
the answer apart again. So a request is the same to everything behind, whichever version it came in.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from router import forward
from router.chunked import ChunkReader, encode, encode_end
from router.client import ClientConnection
from router.http2fields import (
    Field,
    Malformed,
    request_head,
    request_trailers,
    response_fields,
    response_trailers,
)
from router.lines import HEAD_END
from router.response import CHUNKED
from router.stream import BROKEN, PENDING, SENT

if TYPE_CHECKING:
    from router.proxy import Proxy
    from router.secure import Secure

NO_ERROR: Final = 0
PROTOCOL_ERROR: Final = 1
INTERNAL_ERROR: Final = 2
REFUSED_STREAM: Final = 7

FRAME_BYTES: Final = 16384
WRITE_BYTES: Final = 65536
BACKLOG_BYTES: Final = 256 * 1024
MAX_STREAMS: Final = 100


class Http2Connection(ClientConnection):
    """`streams` are those that are not over, `ready` those that have something to send and perhaps may, in turn;
    `leaving`: no new streams are taken; `dead`: nothing can be sent any more."""

    __slots__ = ("dead", "frames", "leaving", "ready", "streams", "working")

    def __init__(
        self, proxy: Proxy, fd: int, address: bytes, port: int, secure: Secure | None = None
    ) -> None:
        super().__init__(proxy, fd, address, port, secure)
        from router.http2frames import Frames  # only workers that speak HTTP/2 carry the library

        self.protocol = b"h2"
        self.lines = forward.client_lines(address, port, self.scheme)
        self.frames: Any = Frames(proxy.loop.now)
        self.streams: dict[int, Http2Stream] = {}
        self.ready: deque[Http2Stream] = deque()
        self.working = False
        self.leaving = False
        self.dead = False
        proxy.metrics.h2_connections += 1
        self._write()

    # what comes

    def take(self, data: bytes) -> None:
        if self.lingering:
            self.lingering -= len(data)
            if not data or self.lingering <= 0:
                self.cut()
            return
        if not data:
            self.lost()
            return
        self.working = True
        sound = self.frames.take(data, self.loop.now, self)
        self.working = False
        if sound:
            self.leaving = self.leaving or self.frames.leaving
            self.pump()
        else:
            self._write()
            self._end_streams()
            self.linger()

    def request(self, id: int, fields: list[Field], ended: bool) -> None:
        if self.leaving or len(self.streams) >= MAX_STREAMS:
            self.frames.reset(id, REFUSED_STREAM)
        elif self.frames.alive(id):  # not reset in the same breath
            try:
                head = request_head(fields, ended=ended)
            except Malformed:
                self.frames.reset(id, PROTOCOL_ERROR)
                return
            self.proxy.metrics.h2_streams += 1
            stream = self.streams[id] = Http2Stream(self, id, ended)
            stream.serve(head)

    def body(self, id: int, data: bytes, size: int, ended: bool) -> None:
        stream = self.streams.get(id)
        if stream is None:
            self.frames.acknowledge(id, size)
        else:
            stream.more(data, size, ended)

    def trailers(self, id: int, fields: list[Field]) -> None:
        stream = self.streams.get(id)
        if stream is not None:
            try:
                stream.trailers = request_trailers(fields)
            except Malformed:
                stream.malformed()
            else:
                stream.more(b"", 0, True)

    def over(self, id: int) -> None:
        stream = self.streams.get(id)
        if stream is not None:
            self.forget(stream)
            stream.lost()

    def window(self, id: int) -> None:
        for stream in self.streams.values():
            if stream.out and id in (0, stream.id):
                self.wake(stream)

    # what goes

    def wake(self, stream: Http2Stream) -> None:
        """The stream has something to send that windows may allow."""
        if not stream.queued:
            stream.queued = True
            self.ready.append(stream)

    def pump(self) -> None:
        """Send what the windows allow while the peer takes it, one frame of each stream in turn."""
        if self.working or self.dead or self.lingering:
            return
        self.working = True
        ready = self.ready
        while ready and not self.out and not self.dead:
            stream = ready.popleft()
            stream.queued = False
            if stream.id in self.streams and stream.emit(self.frames):
                self.wake(stream)
            if self.frames.unsent_bytes >= WRITE_BYTES:
                self._write()
        self._write()
        self.working = False
        if self.leaving and not self.streams and not self.dead:
            self.linger()

    def _write(self) -> None:
        data: bytes = self.frames.data_to_send()
        if data and not self.dead:
            sent = self.send(data)
            if sent == BROKEN:
                self.dead = True  # its streams learn it when they send, or from the event that follows
            elif self.out is not None and len(self.out) > BACKLOG_BYTES:
                self.pause()  # who reads nothing may ask nothing

    def drained(self) -> None:
        if self.lingering:
            self.linger()
        else:
            self.resume()
            self.pump()

    def wrote(self) -> None: ...

    # streams end, and the connection

    def forget(self, stream: Http2Stream) -> bool:
        """The stream is over: give its share of the windows back. False if that was done before."""
        if self.streams.get(stream.id) is not stream:
            return False
        del self.streams[stream.id]
        if stream.unread:
            self.frames.acknowledge(stream.id, stream.unread)
        self.active = self.loop.now
        return True

    def reset(self, stream: Http2Stream, code: int) -> None:
        """End a stream with an error, unless it is over."""
        if self.forget(stream):
            self.frames.reset(stream.id, code)
            self.pump()

    def _end_streams(self) -> None:
        """Nobody is there any more to answer to."""
        self.dead = True
        for stream in list(self.streams.values()):
            stream.lost()

    def lost(self) -> None:
        self._end_streams()
        self.cut()

    def abort(self) -> None:
        self.dead = True
        for stream in list(self.streams.values()):
            stream.abort()
        self.cut()

    def check(self, now: float) -> None:
        if self.lingering:
            super().check(now)
            return
        if self.dead:
            self.lost()
            return
        for stream in list(self.streams.values()):
            stream.check(now)
        idle = not self.streams and now - self.active > self.proxy.limits.keep_alive_s
        if not self.leaving and (self.proxy.draining or idle):
            self.leaving = True
            self.frames.say_goodbye()
            self.pump()


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
            size = min(len(out), FRAME_BYTES, frames.local_flow_control_window(self.id))
            if size <= 0:
                return False
            data = bytes(out[:size])
            del out[:size]
            self.closed = self.whole and not out and not self.tail
            frames.send_body(self.id, data, self.closed)
            self.wrote()
            if out:
                return True
            self.out = None
        if self.whole and not self.closed:
            self.closed = True
            if self.tail:
                frames.send_headers(self.id, self.tail, True)
            else:
                frames.send_body(self.id, b"", True)
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

"""A stream of HTTP/2: one request and its answer, on a connection that carries many.

The request is translated into a head of HTTP/1.1, which the backend gets anyway, and read from that; so it means the
same in both versions. The answer is translated into frames.
"""

from __future__ import annotations

from router.front.client import ClientConnection
from router.front.h2writer import FrameWriter
from router.front.requests import begin, refused
from router.io.stream import BROKEN, PENDING, SENT
from router.middle import timeouts
from router.middle.exchange import Exchange
from router.middle.inflight import HTTP2
from router.middle.sides import Visitor
from router.rules.own_answers import ANSWERS, of_status
from router.wire import rewrite
from router.wire.chunked import BadChunk, passed_trailers
from router.wire.h2fields import AnswerField, response_fields
from router.wire.h2wire import FRAME_BYTES, INTERNAL_ERROR, NO_ERROR, PROTOCOL_ERROR
from router.wire.heads import CRLF, MAX_HEAD_BYTES, BadHead, check_partial
from router.wire.response import ResponseMeaning, StatusLine


class Carrier(ClientConnection):
    """What a stream needs of its connection. `dead`: nothing can be sent any more."""

    __slots__ = ("dead", "streams", "writer")

    writer: FrameWriter
    streams: dict[int, Http2Stream]
    dead: bool

    def wake(self, stream: Http2Stream) -> None:
        """Queue a stream that has something to send."""
        raise NotImplementedError

    def pump(self) -> None:
        """Send what the windows allow."""
        raise NotImplementedError

    def forget(self, stream: Http2Stream) -> bool:
        """Drop a stream that is over; False if that was done before."""
        raise NotImplementedError

    def reset(self, stream: Http2Stream, code: int) -> None:
        """End a stream with an error, unless it is over."""
        raise NotImplementedError


class Http2Stream(Visitor):
    """The request: `left` bytes of its announced length are missing; it is `paused` while the backend takes no more,
    and `held` collects what arrives meanwhile; `unread` bytes have not been given back to the client's windows;
    `request_ended` is set when all of it has arrived.

    The answer: `blocks` of fields, `out` (its body) and `tail` (its trailers) are still to be sent; it is `complete`
    when nothing will be added, `closed` when all has been sent. `code` is the error for a reset if it breaks off.
    `queued`: the stream waits for its turn to send. `slow`: the upstream is paused until `drained`."""

    __slots__ = (
        "blocks",
        "carrier",
        "closed",
        "code",
        "complete",
        "exchange",
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
    )

    def __init__(self, carrier: Carrier, id: int, ended: bool) -> None:
        super().__init__(carrier.loop, -1)
        self.shared = carrier.shared
        self.address = carrier.address
        self.port = carrier.port
        self.protocol = carrier.protocol
        self.trusted = carrier.trusted
        self.forward_lines = carrier.forward_lines
        self.active = carrier.loop.now
        self.received = 0
        self.exchange: Exchange | None = None
        self.carrier = carrier
        self.id = id
        self.code = INTERNAL_ERROR
        self.request_ended = ended
        self.left = 0
        self.paused = False
        self.held = b""
        self.trailers = b""
        self.unread = 0
        self.blocks: list[tuple[int, list[AnswerField]]] = []
        self.tail: list[AnswerField] = []
        self.complete = False
        self.closed = False
        self.queued = False
        self.slow = False

    # the request

    def serve(self, head: bytes) -> None:
        """Begin the exchange of the request with this head."""
        try:
            self._begin(head)
        except BadHead as error:
            exchange = self.exchange = refused(self, HTTP2)
            exchange.fail(of_status(error.status), close=True)

    def _begin(self, head: bytes) -> None:
        end = len(head) - len(CRLF)
        if end - len(CRLF) > MAX_HEAD_BYTES:
            check_partial(head)
        exchange, head = begin(self, self.carrier.heads, head, end, HTTP2)
        self.exchange = exchange
        self.left = exchange.meaning.length
        if exchange.open(head):
            exchange.start(done=not exchange.meaning.length)

    def more(self, data: bytes, size: int, ended: bool) -> None:
        """A part of the body has arrived; its frame used `size` bytes of the windows. `ended`: it is the last."""
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

    def _upload(self, data: bytes) -> None:
        """Pass a part of the body on. More or less data than announced makes the request malformed."""
        exchange = self.exchange
        if exchange is not None and exchange.uploading:
            done = self.request_ended
            if exchange.meaning.length < 0:
                self._upload_unmeasured(exchange, data, done)
            else:
                self.left -= len(data)
                if self.left < 0 or (done and self.left):
                    self.malformed()
                elif data:
                    exchange.upload(data, done=not self.left)
        elif exchange is not None and data:
            self.malformed()
        self._acknowledge()

    def _upload_unmeasured(self, exchange: Exchange, data: bytes, done: bool) -> None:
        trailers = b""
        if self.trailers:
            try:
                trailers = passed_trailers(self.trailers)
            except BadChunk:
                exchange.fail(ANSWERS["bad-request"], close=True)
                return
        if data or done:
            exchange.upload(data, done=done, trailers=trailers)

    def _acknowledge(self) -> None:
        if self.unread and not self.paused:
            self.carrier.writer.acknowledge(self.id, self.unread)
            self.unread = 0
            self.carrier.pump()

    def malformed(self) -> None:
        """Reset the stream of a malformed request (RFC 9113 8.1.1)."""
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
        self.complete = True
        self.tail = response_fields(trailers)
        return self.data(data)

    def answer(self, status: StatusLine, lines: bytes, body: bytes, *, keep: bool) -> int:
        self.blocks.append((status.code, response_fields(lines)))
        return self.end(body, b"")

    def _pump(self) -> int:
        carrier = self.carrier
        if carrier.dead or self.id not in carrier.streams:
            return BROKEN
        carrier.wake(self)
        carrier.pump()
        if carrier.dead:
            return BROKEN
        if not self.out and not self.blocks:
            return SENT
        self.slow = True
        return PENDING

    def emit(self, writer: FrameWriter) -> bool:
        """Write the frames that may be sent now, of the body at most one; True if there is more for another turn."""
        while self.blocks:
            status, fields = self.blocks.pop(0)
            self.closed = self.complete and not self.blocks and not self.out and not self.tail
            writer.send_headers(self.id, status, fields, self.closed)
        out = self.out
        if out:
            wanted = min(len(out), FRAME_BYTES)
            size = min(wanted, writer.room(self.id))
            if size <= 0:
                return False
            data = out[:size]
            del out[:size]
            self.closed = self.complete and not out and not self.tail
            writer.send_body(self.id, data, self.closed, size < wanted)
            self.wrote()
            if out:
                return True
            self.out = None
        if self.complete and not self.closed:
            self.closed = True
            if self.tail:
                writer.send_headers(self.id, 0, self.tail, True)
            else:
                writer.send_body(self.id, b"", True, False)
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
        """End the stream if its answer has been sent; what is missing of the request is no longer needed."""
        carrier = self.carrier
        if self.closed and self.exchange is None and carrier.forget(self):
            if not self.request_ended:
                carrier.writer.reset(self.id, NO_ERROR)
            carrier.pump()

    def cut(self, *, reset: bool = False) -> None:
        """Reset the stream: its answer has broken off, or will not come."""
        self.exchange = None
        self.out = None
        self.carrier.reset(self, self.code)

    def wrote(self) -> None:
        self.active = self.loop.now
        if self.exchange is not None:
            self.exchange.active = self.active

    def lost(self) -> None:
        if self.exchange is not None:
            self.exchange.fail(ANSWERS["client-gone"])
        else:
            self.cut()

    def abort(self) -> None:
        exchange = self.exchange
        if exchange is not None:
            exchange.release_backend()
            exchange.leave()
        self.cut()

    def check(self, now: float) -> None:
        if self.exchange is not None:
            timeouts.check(self.exchange, now)
        elif now - self.active > self.shared.limits.rolling_s:
            self.cut()

"""A connection to a backend: one answer at a time is read from it and passed on, then it rests in the pool."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Final

from router.io.loop import IN, OUT
from router.io.stream import BROKEN, PENDING, READ_BYTES, Stream
from router.middle import squeeze
from router.middle.bulk import Pipe, relay
from router.middle.tunnel import open_tunnel
from router.rules.failures import FAILURES
from router.wire import rewrite
from router.wire.chunked import BadChunk, ChunkReader, encode, encode_end
from router.wire.heads import CRLF, HEAD_END, BadHead, HeadMemory, check_partial, strip_named
from router.wire.response import (
    CHUNKED,
    MAX_RESPONSE_HEAD_BYTES,
    UNTIL_CLOSE,
    ResponseMeaning,
    StatusLine,
    parse_status_line,
)

if TYPE_CHECKING:
    from router.middle.exchange import Exchange
    from router.rules.route import Backend
    from router.shared import Proxy

MAX_INTERIM: Final = 16
_HEAD, _LENGTH, _CHUNKED, _UNTIL_CLOSE, _SQUEEZED = range(5)
_OK: Final = parse_status_line(b"HTTP/1.1 200 OK")


class BackendConnection(Stream):
    """`exchange` is None while it rests; `left` counts body bytes to come; `reused` says that it has answered before;
    `idle_since` is when it came to rest, or when connecting began."""

    __slots__ = (
        "buffer",
        "checked",
        "chunks",
        "connecting",
        "exchange",
        "heads",
        "idle_since",
        "interims",
        "lasting",
        "left",
        "meaning",
        "mode",
        "owner",
        "pipe",
        "proxy",
        "reused",
        "status",
        "watched",
    )

    def __init__(self, proxy: Proxy, fd: int, owner: Backend) -> None:
        super().__init__(proxy.loop, fd, IN | OUT)
        self.proxy = proxy
        self.owner = owner
        self.exchange: Exchange | None = None
        self.mode = _HEAD
        self.buffer = b""
        self.checked = 0
        self.heads = HeadMemory(proxy.responses)
        self.meaning = ResponseMeaning()
        self.status = _OK
        self.left = 0
        self.pipe: Pipe | None = None
        """What a big body passes through at present."""
        self.chunks: ChunkReader | None = None
        self.connecting = True
        self.reused = False
        self.lasting = False
        self.interims = 0
        self.idle_since = proxy.loop.now
        self.watched = True
        proxy.loop.add(fd, self, self.mask)

    def rest(self) -> None:
        """Wait in the pool; an end of the connection is still seen."""
        self.exchange = None
        self.mode = _HEAD
        self.reused = True
        self.idle_since = self.loop.now
        if self.mask != IN:
            self.watch(IN)
        self.interims = 0
        self.owner.idle.append(self)

    def event(self, mask: int) -> None:
        if self.connecting:
            self._connected()
            return
        if mask & OUT:
            self.flush()
        if mask & ~OUT and self.fd >= 0:
            if self.mask & IN:
                self.readable()
            elif self.watched:
                self.watched = False  # a hang-up cannot be masked; what is unread is read on resume
                self.loop.remove(self.fd)

    def watch(self, mask: int) -> None:
        if self.watched:
            super().watch(mask)
        elif self.fd >= 0:
            self.mask = mask
            self.watched = True
            self.loop.add(self.fd, self, mask)

    def close(self) -> None:
        if self.pipe is not None:
            self.proxy.pipes.give(self.pipe)
            self.pipe = None
        super().close()

    def _connected(self) -> None:
        """Connecting came to an end: see which."""
        sock = socket.socket(fileno=self.fd)
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        sock.detach()
        self.connecting = False
        exchange = self.exchange
        if exchange is None or number:
            self.close() if exchange is None else exchange.refused(number)
            return
        now = self.loop.now
        exchange.connect_s = now - self.idle_since
        exchange.active = now
        if self.out:
            self.flush()
        else:
            self.watch(IN)

    def wrote(self) -> None:
        if self.exchange is not None:
            self.exchange.active = self.loop.now

    def drained(self) -> None:
        if self.exchange is not None and self.exchange.uploading:
            self.exchange.client.resume()

    def lost(self) -> None:
        """Writing failed: the answer, if there is one, is still to be read."""
        exchange = self.exchange
        if exchange is not None:
            exchange.unheard = True
            self.watch(IN)

    def abort(self) -> None:
        exchange = self.exchange
        if exchange is not None:
            exchange.fail(FAILURES["platform"])
        else:
            self._discard()

    # the answer

    def readable(self) -> None:
        if self.left > READ_BYTES or self.pipe is not None:
            relay(self)
            return
        try:
            data = os.read(self.fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self.over(reset=True)
            return
        exchange = self.exchange
        if exchange is None:
            self._discard()
        elif not data:
            self.over(reset=False)
        elif self.mode == _HEAD:
            try:
                self._heads(exchange, data)
            except BadHead as error:
                self.bad(exchange, error)
        else:
            exchange.active = self.loop.now
            self._body(exchange, data)

    def _discard(self) -> None:
        """An idle connection ended, or said something unasked: it is of no use."""
        if self in self.owner.idle:
            self.owner.idle.remove(self)
        self.close()

    def bad(self, exchange: Exchange, reason: object) -> None:
        """The answer is not proper HTTP."""
        self.owner.failures += 1
        exchange.fail(FAILURES["bad-response"].because(reason))

    def _heads(self, exchange: Exchange, data: bytes) -> None:
        """Heads of the answer: any number of 1xx, then the final one. Raises BadHead."""
        if self.buffer:
            data = self.buffer + data
            self.buffer = b""
        while data:
            end = data.find(HEAD_END)
            if end < 0 or end > MAX_RESPONSE_HEAD_BYTES:
                check_partial(data, self.checked, MAX_RESPONSE_HEAD_BYTES)
                self.buffer = data
                self.checked = len(data)
                return
            status = self.status
            if not data.startswith(status.line):
                status = self.status = self.proxy.status_lines(data[: data.find(CRLF)])
            line_end = status.end
            meaning = self.meaning = self.heads.read(data, line_end + 2, end + 2)
            if exchange.ordinary and status.ordinary and meaning.ordinary:
                self._ordinary(exchange, data, end, status)
                return
            self.checked = 0
            head = rewrite.response_head(data[: end + 2], line_end, status, meaning)
            data = data[end + 4 :]
            if status.code >= 200:
                self._final(exchange, head, data, status)
                return
            if status.code == 101:
                self._upgrade(exchange, head, data)
                return
            self.interims += 1
            if self.interims > MAX_INTERIM:
                raise BadHead(f"more than {MAX_INTERIM} interim answers")
            if exchange.minor and not exchange.client.deliver(rewrite.interim(head)):
                return

    def _ordinary(self, exchange: Exchange, data: bytes, end: int, status: StatusLine) -> None:
        """The answer that is met most: a length, nothing unusual asked, often all of it in one read."""
        meaning = self.meaning
        length = meaning.length
        self.lasting = not meaning.close
        exchange.status = status.code
        size = len(data) - end - 4
        if size != length or len(meaning.cuts) != 1:
            head = data[: end + 2]
            for cut in meaning.cuts:
                head = head.replace(cut, CRLF, 1)
            if size != length:
                self._with_length(exchange, head + rewrite.END, data[end + 4 :], length)
                return
            data = b"".join((head, rewrite.END, data[end + 4 :]))
        else:
            data = data.replace(meaning.cuts[0], rewrite.VIA_LINE, 1)
        exchange.body_bytes = length
        if exchange.client.send(data) == BROKEN:
            exchange.client.lost()
        else:
            exchange.finish(self)

    def _upgrade(self, exchange: Exchange, head: bytes, rest: bytes) -> None:
        if not exchange.meaning.upgrade or self.meaning.upgrade != b"websocket" or exchange.uploading:
            raise BadHead("101 was not asked for")
        exchange.status = 101
        open_tunnel(self, exchange, head, rest)

    def _final(self, exchange: Exchange, head: bytes, rest: bytes, status: StatusLine) -> None:
        """The final head, and what has come of the body with it."""
        meaning = self.meaning
        length = meaning.length
        if status.minor == 0 and length == CHUNKED:
            raise BadHead("Transfer-Encoding in HTTP/1.0")
        self.lasting = not meaning.close and (status.minor == 1 or meaning.keep_alive)
        if exchange.method == b"HEAD" or status.code == 304:
            length = 0
        elif status.code == 204:
            length = 0
            head = strip_named(head, frozenset([b"content-length"]))
        exchange.status = status.code
        if exchange.uploading or self.proxy.draining:
            exchange.keep = False
        if exchange.squeeze is not None:
            head, length = exchange.squeeze.begin(head, status.code, length)
        if length < 0 and not exchange.minor:
            exchange.keep = False
        chunked = length < 0 and exchange.minor == 1
        head += exchange.lines + rewrite.response_end(
            keep=exchange.keep, minor=exchange.minor, chunked=chunked
        )
        if length >= 0:
            self._with_length(exchange, head, rest, length)
            return
        exchange.active = self.loop.now
        if length == CHUNKED:
            self.mode = _CHUNKED
            self.chunks = ChunkReader()
        elif length == squeeze.SQUEEZED:
            self.mode = _SQUEEZED
        else:
            assert length == UNTIL_CLOSE
            self.mode = _UNTIL_CLOSE
            self.lasting = False
        if rest:
            self._body(exchange, rest, head)
        else:
            self.deliver(exchange, head)

    def _with_length(self, exchange: Exchange, head: bytes, rest: bytes, length: int) -> None:
        size = len(rest)
        if size >= length:
            if size > length:
                self.lasting = False
                rest = rest[:length]
            exchange.body_bytes = length
            self.last(exchange, head + rest)
            return
        self.mode = _LENGTH
        self.left = length - size
        exchange.body_bytes = size
        exchange.active = self.loop.now
        self.deliver(exchange, head + rest)

    def deliver(self, exchange: Exchange, data: bytes | memoryview) -> None:
        """Pass on; a client that is slower stops the reading here."""
        sent = exchange.client.send(data)
        if sent == PENDING:
            self.pause()
        elif sent == BROKEN:
            exchange.client.lost()

    def _body(self, exchange: Exchange, data: bytes, head: bytes = b"") -> None:
        """A part of the body; with the head in front when it has not gone out yet."""
        if self.mode == _SQUEEZED:
            squeeze.pass_on(self, exchange, data, head)
            return
        if self.mode == _LENGTH:
            if len(data) > self.left:
                data = data[: self.left]
                self.lasting = False
            self.left -= len(data)
            exchange.body_bytes += len(data)
            if not self.left:
                self.last(exchange, data)
                return
        elif self.mode == _CHUNKED:
            chunks = self.chunks
            assert chunks is not None
            try:
                data = chunks.feed(data)
            except BadChunk as error:
                if head:
                    exchange.status = 0  # nothing has gone out yet: say that the answer was bad
                self.bad(exchange, error)
                return
            exchange.body_bytes += len(data)
            if exchange.minor:
                data = encode(data)
            if chunks.done:
                if chunks.rest:
                    self.lasting = False
                if exchange.minor:
                    data += encode_end(chunks.trailers)
                self.last(exchange, head + data)
                return
        else:
            exchange.body_bytes += len(data)
            if exchange.minor:
                data = encode(data)
        data = head + data
        if data:
            self.deliver(exchange, data)

    def last(self, exchange: Exchange, data: bytes | memoryview) -> None:
        """Pass on the end of the answer."""
        if exchange.client.send(data) == BROKEN:
            exchange.client.lost()
        else:
            exchange.finish(self)

    def over(self, *, reset: bool) -> None:
        """The backend sends no more."""
        exchange = self.exchange
        if exchange is None:
            self._discard()
        elif self.mode == _HEAD:
            if self.buffer:
                self.bad(exchange, "it ended within its head")
            elif self.reused and not self.interims:
                exchange.stale()
            elif self.interims:
                exchange.fail(FAILURES["no-response"])
            else:
                exchange.unanswered()
        elif exchange.squeeze is not None and exchange.squeeze.until_close and not reset:
            squeeze.end(self, exchange, exchange.squeeze)
        elif self.mode == _UNTIL_CLOSE and not reset:
            self.lasting = False
            self.last(exchange, encode_end() if exchange.minor else b"")
        else:
            self.owner.failures += 1
            exchange.fail(FAILURES["interrupted"])

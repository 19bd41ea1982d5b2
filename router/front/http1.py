"""A client's connection that speaks HTTP/1: reads requests one after the other and passes their bodies on.

Read `_begin` first. `_fast_path` does the same in fewer steps for the requests that need no more, which are most.
"""

from __future__ import annotations

import os
import re
from typing import Final

from router.front.answers import AnswerWriter
from router.front.client import FORGET_S
from router.front.requests import begin, refused
from router.io.loop import IN
from router.io.stream import READ_BYTES
from router.io.tls import Secure
from router.middle import timeouts
from router.middle.bulk import relay_upload
from router.middle.exchange import Exchange
from router.middle.inflight import HTTP11
from router.rules.own_answers import ANSWERS, of_status
from router.rules.route import Route
from router.shared import Shared
from router.wire import rewrite
from router.wire.body import Body
from router.wire.chunked import BadChunk
from router.wire.heads import CRLF, HEAD_END, MAX_HEAD_BYTES, BadHead, check_partial
from router.wire.request import fast_path_line
from router.wire.response import CHUNKED

PIPELINED_BYTES: Final = 64 * 1024


class Http1Connection(AnswerWriter):
    """`buffer` holds bytes after the current request, or an incomplete head that is in order so far; `body` is that of
    the current request. `serving` guards against requests that begin within each other."""

    __slots__ = ("body", "buffer", "serving")

    def __init__(
        self, shared: Shared, fd: int, address: bytes, port: int, secure: Secure | None = None
    ) -> None:
        super().__init__(shared, fd, address, port, secure)
        self.buffer = b""
        self.body: Body | None = None
        self.serving = False

    # reading

    def readable(self) -> None:
        exchange = self.exchange
        if exchange is not None and exchange.uploading and relay_upload(self, exchange, self.body):
            return
        try:  # as `ClientConnection.readable`, without one more call for each read
            data = os.read(self.fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self.lost()
            return
        if self.secure is None:
            self.data_received(data)
        else:
            self.encrypted_received(data)

    def data_received(self, data: bytes) -> None:
        self.active = self.loop.now
        exchange = self.exchange
        if exchange is None and data and not self.lingering:
            if self.buffer:
                self.serve(self.buffer + data, len(self.buffer))
            else:
                self.serve(data)
        elif not data:
            self._end_of_input()
        elif exchange is None:
            self.discard(len(data))
        elif exchange.uploading:
            self.received += len(data)
            self._upload(exchange, data)
        else:
            self.buffer += data
            if len(self.buffer) >= PIPELINED_BYTES:
                self.pause()

    def _end_of_input(self) -> None:
        self.ended = True
        exchange = self.exchange
        if exchange is None:
            if self.out is None or self.lingering:
                self.cut()
            else:
                self.pause()
        elif exchange.uploading or not exchange.status:
            exchange.fail(ANSWERS["client-gone"])
        else:
            exchange.keep = False
            self.pause()

    def _upload(self, exchange: Exchange, data: bytes) -> None:
        body = self.body
        assert body is not None
        try:
            data = body.take(data)
        except BadChunk as error:
            exchange.active = self.loop.now
            exchange.fail(of_status(error.status), close=True)
            return
        if body.done:
            self.buffer = body.leftover
        exchange.upload(data, done=body.done, trailers=body.trailers)

    # the beginning of a request

    def serve(self, data: bytes, checked: int = 0) -> None:
        """Begin the requests in `data`, one after the other, until one is in progress or more bytes are needed. The
        first `checked` bytes are of an incomplete head that was found valid so far."""
        self.buffer = b""
        line = fast_path_line(data)
        if line is not None and data.endswith(HEAD_END) and self._fast_path(data, line):
            return
        self.serving = True
        try:
            while data:
                data = self._request(data, checked)
                checked = 0
        except BadHead as error:
            self._refuse(error)
        self.serving = False

    def _fast_path(self, data: bytes, line: re.Match[bytes]) -> bool:
        """Begin the exchange of a request that fills `data`, has no body and needs no admission. False if it is not
        like that: then `_begin` does it."""
        end = len(data) - 2
        try:
            meaning = self.heads.read(data, line.end(), end)
        except BadHead:
            return False
        host = meaning.host
        if host is None or meaning.length or meaning.scheme or meaning.port or end > MAX_HEAD_BYTES:
            return False
        method, target = line.groups()
        shared = self.shared
        table = shared.table
        if meaning.table == table.number:  # spares the cache misses of a lookup among thousands of hosts
            route: Route | None = meaning.route
        else:
            route = table.lookup(host, target)
            if table.has_one_route(host):
                meaning.route, meaning.table = route, table.number
        if route is None or route.needs_admission:
            return False
        self.since = 0.0
        request_id = meaning.request_id or shared.new_id()
        exchange = self.exchange = Exchange(self, method, target, HTTP11, meaning, request_id, route)
        exchange.replay = rewrite.request_head(
            data[:end], meaning, self.address, self.forward_lines, shared.wall_ms(), request_id
        )
        exchange.dispatch()
        return True

    def _next_bytes(self) -> bytes:
        """The bytes after a request that has been answered already, if the next one may begin."""
        if self.exchange is not None or self.fd < 0 or self.out or self.lingering:
            return b""
        data, self.buffer = self.buffer, b""
        return data

    def _request(self, data: bytes, checked: int) -> bytes:
        """Begin the exchange of the request at the start of `data`; returns the bytes of the next one, if it may
        begin."""
        received = data
        if data.startswith(CRLF):  # one empty line before a request is forgiven, RFC 9112 2.2
            data = data[2:]
            checked -= len(CRLF)
        end = data.find(HEAD_END)
        if 0 <= end <= MAX_HEAD_BYTES:
            return self._begin(data, end)
        check_partial(data, checked)
        if not self.since and data:
            self.since = self.loop.now
        self.buffer = received
        return b""

    def _begin(self, data: bytes, end: int) -> bytes:
        """As `_request`, with the head ending at `end`: make the exchange, ask the policy, send the request on with
        what has come of its body."""
        exchange, head = begin(self, self.heads, data, end + 2, HTTP11)
        self.since = 0.0
        self.exchange = exchange
        leftover = data[end + 4 :]
        self.received = len(leftover)
        if exchange.meaning.length == 0:
            self.buffer = leftover
        if exchange.open(head):
            self._start(exchange, leftover)
        return self._next_bytes()

    def _start(self, exchange: Exchange, leftover: bytes) -> None:
        length = exchange.meaning.length
        if length == len(leftover):  # most often: no body, or one that came with the head
            self.buffer = b""
            exchange.start(leftover)
            return
        if length == 0:
            exchange.start()
            return
        body = self.body = Body(length if length > 0 else CHUNKED)
        try:
            data = body.take(leftover)
        except BadChunk as error:
            exchange.fail(of_status(error.status), close=True)
            return
        if body.done:
            self.buffer = body.leftover
        exchange.start(data, done=body.done, trailers=body.trailers)

    def _refuse(self, error: BadHead) -> None:
        """Answer a bad head and close: it is uncertain where the next request would begin."""
        exchange = self.exchange = refused(self, HTTP11)
        exchange.fail(of_status(error.status), close=True)

    # the end of an exchange, and of the connection

    def early_bytes(self) -> bytes:
        early, self.buffer = self.buffer, b""
        return early

    def drained(self) -> None:
        exchange = self.exchange
        if self.lingering:
            self.linger()
        elif exchange is None:
            self._next()
        elif exchange.upstream is not None:
            exchange.upstream.resume()

    def finished(self, keep: bool) -> None:
        exchange = self.exchange
        self.exchange = None
        self.body = None
        if not keep:
            if exchange is not None and exchange.last_wanted and not self.buffer:
                self.ended = True
            self.linger()
        elif self.out is not None:
            self.pause()  # no new request from a client that does not read its answer
        elif self.buffer or self.mask != IN:
            self._next()

    def _next(self) -> None:
        if self.ended:
            self.cut()
            return
        if not self.mask & IN:
            self.resume()
        if self.buffer and not self.serving:
            self.serve(self.buffer)

    def linger(self) -> None:
        if not self.out and not self.ended:
            self.buffer = b""
        super().linger()

    def lost(self) -> None:
        if self.exchange is not None:
            self.exchange.fail(ANSWERS["client-gone"])
        else:
            self.cut()

    def abort(self) -> None:
        if self.tunnel is not None:
            self.tunnel.close()
            return
        exchange = self.exchange
        if exchange is not None:
            exchange.release_backend()
            exchange.leave()
        self.cut()

    def cut(self, *, reset: bool = False) -> None:
        self.body = None
        super().cut(reset=reset)

    def resting_since(self) -> float:
        busy = self.exchange or self.tunnel or self.lingering or self.out or self.since
        return 0.0 if busy else self.active

    def check(self, now: float) -> None:
        exchange = self.exchange
        limits = self.shared.limits
        if self.tunnel is not None:
            self.tunnel.check(now)
        elif exchange is not None:
            if not (exchange.status or self.mask & IN) and self.ended_unread():
                exchange.fail(ANSWERS["client-gone"])
            else:
                timeouts.check(exchange, now)
        elif self.lingering:
            self.check_linger(now)
        elif self.out:
            if now - self.active > limits.rolling_s:
                self.cut()
        elif self.since:
            if now - self.since > limits.head_s:
                self._refuse(BadHead("the head took too long", 408))
        elif now - self.active > (limits.linger_s if self.shared.draining else limits.keep_alive_s):
            self.cut()
        elif now - self.active > FORGET_S:
            self.heads.forget()

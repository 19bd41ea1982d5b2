"""A client's connection: heads become exchanges one after the other, bodies go up, what is pipelined waits."""

from __future__ import annotations

import os
import re
import socket
import struct
from copy import copy
from typing import TYPE_CHECKING, Final

from router.io.loop import IN
from router.io.stream import BROKEN, READ_BYTES, Stream
from router.middle import timeouts
from router.middle.bulk import pour, relay_upload
from router.middle.exchange import Exchange
from router.report.entry import quote
from router.rules.failures import FAILURES, of_status
from router.wire import rewrite
from router.wire.heads import CRLF, HEAD_END, MAX_HEAD_BYTES, BadHead, HeadMemory, check_partial
from router.wire.request import (
    EXPECT_LINE,
    UPGRADE_LINES,
    RequestMeaning,
    ordinary_line,
    parse_host,
    parse_request_line,
    split_target,
)

if TYPE_CHECKING:
    from router.io.tls import Secure
    from router.middle.tunnel import Tunnel
    from router.shared import Proxy

PIPELINED_BYTES: Final = 64 * 1024
LINGER_BYTES: Final = 4 * 1024 * 1024
_RESET = struct.pack("ii", 1, 0)
_NOTHING = RequestMeaning()


class ClientConnection(Stream):
    """`buffer` holds bytes after the current request, or an incomplete head; `ended` says that the client sends
    no more: it may still read an answer that has begun, else it is taken for gone; `active` is when it was last heard of; `protocol` is as in the access log."""

    __slots__ = (
        "active",
        "address",
        "buffer",
        "checked",
        "ended",
        "exchange",
        "heads",
        "lines",
        "lingering",
        "port",
        "protocol",
        "proxy",
        "received",
        "serving",
        "since",
        "trusted",
        "tunnel",
    )

    def __init__(
        self, proxy: Proxy, fd: int, address: bytes, port: int, secure: Secure | None = None
    ) -> None:
        super().__init__(proxy.loop, fd)
        self.proxy = proxy
        self.address = address
        self.port = port
        self.secure = secure
        self.protocol = b"http" if secure is None else b"https"
        self.lines = rewrite.client_lines(address, port, self.scheme)
        self.trusted = proxy.trusts(address)
        self.buffer = b""
        self.heads = HeadMemory(proxy.trusted_requests if self.trusted else proxy.requests)
        self.exchange: Exchange | None = None
        self.active = proxy.loop.now
        self.checked = 0
        """How many bytes of an incomplete head have been found in order."""
        self.since = 0.0
        """When an incomplete head began, or lingering."""
        self.received = 0
        """Bytes of the current request's body."""
        self.ended = False
        self.serving = False
        self.lingering = 0
        self.tunnel: Tunnel | None = None
        if fd >= 0:  # a stream of HTTP/2 has none
            proxy.clients.add(self)
            proxy.loop.handle(fd, self)

    @property
    def scheme(self) -> bytes:
        """The scheme of the URLs that are asked for over this connection."""
        return b"http" if self.protocol == b"http" else b"https"

    def readable(self) -> None:
        exchange = self.exchange
        if exchange is not None and exchange.uploading and relay_upload(self, exchange):
            return
        try:
            data = os.read(self.fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self.lost()
            return
        if self.secure is None:
            self.take(data)
        else:
            self.open(data)

    def take(self, data: bytes) -> None:
        self.active = self.loop.now
        exchange = self.exchange
        if exchange is None and data and not self.lingering:
            self.serve(self.buffer + data if self.buffer else data)
        elif not data:
            self._end_of_input()
        elif exchange is None:
            self.lingering -= len(data)
            if self.lingering <= 0:
                self.cut()
        elif exchange.uploading:
            self.received += len(data)
            exchange.upload(data)
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
            exchange.fail(FAILURES["client-gone"])
        else:
            exchange.keep = False
            self.pause()

    def serve(self, data: bytes) -> None:
        """Take requests from `data` until one is under way or more bytes are needed."""
        self.buffer = b""
        line = ordinary_line(data)
        if line is not None and data.endswith(HEAD_END) and self._usual(data, line):
            return
        self.serving = True
        try:
            while data:
                data = self._request(data)
        except BadHead as error:
            self._refuse(error)
        self.serving = False

    def _usual(self, data: bytes, line: re.Match[bytes]) -> bool:
        """Begin the exchange of a request that is all of `data` and has no body, as most; False when it is another."""
        end = len(data) - 2
        try:
            meaning = self.heads.read(data, line.end(), end)
        except BadHead:
            return False
        host = meaning.host
        if host is None or meaning.length or meaning.scheme or meaning.port or end > MAX_HEAD_BYTES:
            return False
        method, target = line.groups()
        proxy = self.proxy
        route = proxy.table.lookup(host, target)
        if route is None or route.needs_admission:
            return False
        if self.since:
            self.since, self.checked = 0.0, 0
        request_id = meaning.request_id or proxy.new_id()
        exchange = self.exchange = Exchange(self, method, target, 1, meaning, request_id, route)
        exchange.replay = rewrite.request_head(data[:end], meaning, self.lines, proxy.wall_ms(), request_id)
        exchange.dispatch()
        return True

    def _goes_on(self) -> bytes:
        """After a request that is over already: the bytes of the next one, if it may begin."""
        if self.exchange is not None or self.fd < 0 or self.out or self.lingering:
            return b""
        data, self.buffer = self.buffer, b""
        return data

    def _request(self, data: bytes) -> bytes:
        """Begin the exchange of the request at the start of `data`; what can be begun after it, if it is over."""
        received = data
        if data[0] == 13 and data[:2] == CRLF:  # one empty line before a request is forgiven, RFC 9112 2.2
            data = data[2:]
        end = data.find(HEAD_END)
        if 0 <= end <= MAX_HEAD_BYTES:
            return self._begin(data, end)
        check_partial(data, self.checked)
        if not self.since and data:
            self.since = self.loop.now
        self.buffer = received
        self.checked = len(data)
        return b""

    def _begin(self, data: bytes, end: int) -> bytes:
        """As `_request`, with the head ending at `end`."""
        minor = 1
        line = ordinary_line(data)
        if line is not None:
            method, target = line.groups()
            start = line.end()
        else:
            start = data.find(CRLF) + 2
            method, target, minor = parse_request_line(data, start - 2)
        meaning = self.heads.read(data, start, end + 2)
        if self.since:
            self.since, self.checked = 0.0, 0
        head = data[: end + 2]
        authority: bytes | None = None
        if meaning.host is None and minor:
            raise BadHead("no Host")
        if target[0] != 47 or minor == 0:
            target, head, authority, meaning = self._unusual(method, target, minor, head, meaning)
        proxy = self.proxy
        route = proxy.table.lookup(meaning.host or b"", target)
        request_id = meaning.request_id or proxy.new_id()
        exchange = self.exchange = Exchange(self, method, target, minor, meaning, request_id, route)
        if line is None:
            exchange.shown = quote(target)
        if route is None:
            self.buffer = data[end + 4 :]
            exchange.uploading = bool(meaning.length)
            exchange.fail(FAILURES["unknown-host"])
            return self._goes_on()
        lines = self.lines
        if meaning.scheme or meaning.port:
            port = meaning.port or (443 if meaning.scheme == b"https" else self.port)
            lines = rewrite.client_lines(self.address, port, meaning.scheme or self.scheme)
        head = rewrite.request_head(head, meaning, lines, proxy.wall_ms(), request_id, authority)
        self.received = len(data) - end - 4
        exchange.start(head, data[end + 4 :])
        return self._goes_on() if exchange.status else b""

    def _unusual(
        self, method: bytes, target: bytes, minor: int, head: bytes, meaning: RequestMeaning
    ) -> tuple[bytes, bytes, bytes | None, RequestMeaning]:
        """Absolute and asterisk forms, and HTTP/1.0: rewrite the request line, let an absolute target name the host."""
        authority: bytes | None = None
        if target[0] != 47:
            authority, target = split_target(method, target)
            if authority is not None:
                host = parse_host(authority)
                if host != meaning.host:
                    meaning = copy(meaning)
                    meaning.host = host
        if minor == 0 and meaning.chunked:
            raise BadHead("Transfer-Encoding in HTTP/1.0")
        if minor == 0 and (meaning.expect or meaning.upgrade):  # ignored, RFC 9110 7.8 and 10.1.1
            meaning = copy(meaning)
            meaning.upgrade = False
            meaning.extra = meaning.extra.replace(EXPECT_LINE, b"").replace(UPGRADE_LINES, b"")
        if minor == 0 and meaning.host is None:
            authority = b""
        head = b"%b %b HTTP/1.1\r\n%b" % (method, target, head[head.find(CRLF) + 2 :])
        return target, head, authority, meaning

    def _refuse(self, error: BadHead) -> None:
        """Answer a head that is not passed on, and close: what follows it cannot be trusted."""
        exchange = self.exchange = Exchange(self, b"-", b"-", 1, _NOTHING, b"", None)
        exchange.fail(of_status(error.status), close=True)

    # the end of an exchange, and of the connection

    def finished(self, keep: bool) -> None:
        """The exchange is over; go on with the next one or close."""
        exchange = self.exchange
        self.exchange = None
        if not keep:
            if exchange is not None and exchange.last_wanted and not self.buffer:
                self.ended = True  # it said that no more will come
            self.linger()
        elif self.out is not None:
            self.pause()  # who does not read may not ask either
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

    def flush(self) -> None:
        exchange = self.exchange
        connection = exchange.connection if exchange is not None else None
        if exchange is None or connection is None or connection.pipe is None or self.out:
            super().flush()
        else:
            pour(connection, exchange, connection.pipe)

    def wrote(self) -> None:
        self.active = self.loop.now
        if self.exchange is not None:
            self.exchange.active = self.active

    def drained(self) -> None:
        exchange = self.exchange
        if self.lingering:
            self.linger()
        elif exchange is None:
            self._next()
        elif exchange.connection is not None:
            exchange.connection.resume()

    def linger(self) -> None:
        """Close without a reset that could overtake the answer: send FIN, read and discard for a moment."""
        self.lingering = self.lingering or LINGER_BYTES
        if self.out:
            return
        if self.ended:
            self.cut()
            return
        self.since = self.loop.now
        self.buffer = b""
        if not self.shut():
            self.cut()
        if self.fd >= 0:
            self.resume()

    def lost(self) -> None:
        exchange = self.exchange
        if exchange is not None:
            exchange.fail(FAILURES["client-gone"])
        else:
            self.cut()

    def abort(self) -> None:
        if self.tunnel is not None:
            self.tunnel.close()
            return
        exchange = self.exchange
        if exchange is not None:
            exchange.let_go()
            exchange.leave()
        self.cut()

    def cut(self, *, reset: bool = False) -> None:
        """Close at once; with `reset` so that an answer without a length does not look complete."""
        self.exchange = None
        self.proxy.clients.discard(self)
        if reset and self.fd >= 0:
            sock = socket.socket(fileno=self.fd)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            sock.detach()
            self.secure = None
        self.close()

    def resting_since(self) -> float:
        busy = self.exchange or self.tunnel or self.lingering or self.out or self.since
        return 0.0 if busy else self.active

    def check(self, now: float) -> None:
        """Once a second: what takes too long is ended."""
        exchange = self.exchange
        limits = self.proxy.limits
        if self.tunnel is not None:
            self.tunnel.check(now)
        elif exchange is not None:
            if not (exchange.status or self.mask & IN) and self.ended_unread():
                exchange.fail(FAILURES["client-gone"])
            else:
                timeouts.check(exchange, now)
        elif self.lingering:
            if (
                self.out is None and now - self.since > limits.linger_s
            ) or now - self.active > limits.rolling_s:
                self.cut()
        elif self.out:
            if now - self.active > limits.rolling_s:
                self.cut()
        elif self.since:
            if now - self.since > limits.head_s:
                self._refuse(BadHead("the head took too long", 408))
        elif now - self.active > (limits.linger_s if self.proxy.draining else limits.keep_alive_s):
            self.cut()
        elif now - self.active > 5.0:
            self.heads.forget()

    def deliver(self, data: bytes | memoryview) -> bool:
        """Pass on a part of the response; False when the client is gone and the exchange has been ended."""
        if self.send(data) == BROKEN:
            self.lost()
            return False
        return True

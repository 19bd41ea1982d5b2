"""Writes answers to a client of HTTP/1: what an exchange tells becomes heads, chunks and bodies on the wire."""

from __future__ import annotations

from router.front.client import ClientConnection
from router.io.stream import SENT
from router.io.tls import Secure
from router.middle.bulk import pour
from router.middle.exchange import Exchange
from router.middle.inflight import HTTP10
from router.middle.sides import Upstream
from router.middle.tunnel import Tunnel
from router.shared import Shared
from router.wire import rewrite
from router.wire.chunked import encode, encode_end
from router.wire.heads import CRLF
from router.wire.response import ResponseMeaning, StatusLine


class AnswerWriter(ClientConnection):
    """`head` waits to go out with the first part of the body, `chunked` is the transfer coding of that; `tunnel` is
    what the connection has become after a 101."""

    __slots__ = ("chunked", "exchange", "head", "tunnel")

    def __init__(
        self, shared: Shared, fd: int, address: bytes, port: int, secure: Secure | None = None
    ) -> None:
        super().__init__(shared, fd, address, port, secure)
        self.exchange: Exchange | None = None
        self.head = b""
        self.chunked = False
        self.tunnel: Tunnel | None = None

    def early_bytes(self) -> bytes:
        """What the client has sent after the request: the first bytes of a tunnel."""
        raise NotImplementedError

    def whole(self, status: StatusLine, meaning: ResponseMeaning, data: bytes, end: int) -> int:
        cuts = meaning.cuts
        if len(cuts) == 1:
            return self.send(data.replace(cuts[0], rewrite.VIA_LINE, 1))
        head = data[: end + 2]
        for cut in cuts:
            head = head.replace(cut, CRLF, 1)
        return self.send(b"".join((head, rewrite.END, data[end + 4 :])))

    def interim(self, status: StatusLine, lines: bytes) -> int:
        exchange = self.exchange
        if exchange is None or exchange.version == HTTP10:  # which has none
            return SENT
        return self.send(b"".join((status.text, lines, rewrite.END)))

    def begin(self, status: StatusLine, lines: bytes, length: int) -> None:
        exchange = self.exchange
        assert exchange is not None
        modern = exchange.version != HTTP10
        self.chunked = modern and length < 0
        if length < 0 and not modern:
            exchange.keep = False
        end = rewrite.response_end(keep=exchange.keep, minor=int(modern), chunked=self.chunked)
        self.head = b"".join((status.text, lines, end))

    def data(self, data: bytes | memoryview) -> int:
        head, self.head = self.head, b""
        if self.chunked:
            data = encode(bytes(data), head)
        elif head:
            data = head + data
        return self.send(data)

    def end(self, data: bytes | memoryview, trailers: bytes) -> int:
        head, self.head = self.head, b""
        if self.chunked:
            data = encode_end(trailers, bytes(data), head)
        elif head:
            data = head + data
        return self.send(data)

    def answer(self, status: StatusLine, lines: bytes, body: bytes, *, keep: bool) -> int:
        self.head = b""
        return self.send(b"".join((status.text, lines, CRLF if keep else rewrite.CLOSE_END, body)))

    def upgrade(self, upstream: Upstream, status: StatusLine, lines: bytes, leftover: bytes) -> None:
        exchange = self.exchange
        assert exchange is not None
        tunnel = self.tunnel = Tunnel(self, upstream, exchange)
        tunnel.begin(b"".join((status.text, lines, rewrite.TUNNEL_END, leftover)), self.early_bytes())

    def flush(self) -> None:
        exchange = self.exchange
        upstream = exchange.upstream if exchange is not None else None
        if exchange is None or upstream is None or upstream.pipe is None or self.out:
            super().flush()
        else:
            assert upstream.body is not None
            pour(self, exchange, upstream, upstream.pipe, upstream.body)

    def wrote(self) -> None:
        self.active = self.loop.now
        if self.exchange is not None:
            self.exchange.active = self.active

    def cut(self, *, reset: bool = False) -> None:
        self.exchange = None
        self.tunnel = None
        super().cut(reset=reset)

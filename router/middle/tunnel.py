"""Tunnels (WebSocket): after a 101 the router copies bytes between both connections and no longer parses them."""

from __future__ import annotations

import os

from router.io.stream import BIG, BIG_VIEW, BROKEN, PENDING, READ_BYTES, SENT, Stream
from router.middle.exchange import Exchange
from router.middle.sides import Upstream, Visitor
from router.middle.timeouts import rolling_s
from router.rules.own_answers import ANSWERS, OwnAnswer


class TunnelEnd(Stream):
    """One of the two connections. `big` is set while whole buffers come; `ended` says that it sends no more."""

    __slots__ = ("big", "ended", "peer", "tunnel")

    peer: TunnelEnd

    def __init__(self, stream: Stream, tunnel: Tunnel) -> None:
        super().__init__(stream.loop, stream.fd, stream.mask)
        self.out = stream.out
        self.secure = stream.secure
        self.tunnel = tunnel
        self.ended = False
        self.big = False

    def readable(self) -> None:
        data: bytes | memoryview
        try:
            if self.big:
                count = os.readv(self.fd, [BIG])
                data = BIG_VIEW[:count]
                self.big = count >= READ_BYTES
            else:
                data = os.read(self.fd, READ_BYTES)
                self.big = len(data) == READ_BYTES and self.secure is None
        except BlockingIOError:
            return
        except OSError:
            self.tunnel.close()
            return
        if self.secure is None:
            self.data_received(data)
        else:
            self.encrypted_received(bytes(data))

    def data_received(self, data: bytes | memoryview) -> None:
        tunnel = self.tunnel
        tunnel.active = self.loop.now
        if not data:
            self._end()
            return
        if self is tunnel.server:
            tunnel.exchange.body_bytes += len(data)
        sent = self.peer.send(data)
        if sent == PENDING:
            self.pause()
        elif sent == BROKEN:
            tunnel.close()

    def _end(self) -> None:
        """The half-close of one side is passed on to the other; when both have ended the tunnel is over."""
        self.ended = True
        self.pause()
        if self.peer.ended:
            self.tunnel.close()
        elif not self.peer.out:
            self.peer.end()

    def end(self) -> None:
        """Pass on that the other side sends no more."""
        if not self.shut():
            self.tunnel.close()

    def wrote(self) -> None:
        self.tunnel.active = self.loop.now

    def drained(self) -> None:
        if self.peer.ended:
            self.end()
        else:
            self.peer.resume()

    def lost(self) -> None:
        self.tunnel.close()


class Tunnel:
    """Both ends, and the exchange that opened it (which stays in flight until the tunnel closes)."""

    def __init__(self, visitor: Visitor, upstream: Upstream, exchange: Exchange) -> None:
        self.visitor = visitor
        self.exchange = exchange
        self.active = visitor.loop.now
        self.near = TunnelEnd(visitor, self)
        self.server = TunnelEnd(upstream, self)
        self.near.peer = self.server
        self.server.peer = self.near
        visitor.loop.replace(visitor.fd, self.near)
        visitor.loop.replace(upstream.fd, self.server)
        visitor.fd = upstream.fd = -1
        visitor.secure = None

    def begin(self, head: bytes, early: bytes) -> None:
        """Pass on the 101 and what came with it, and what the client has sent `early`; then only copy."""
        for end, data in ((self.near, head), (self.server, early)):
            sent = end.send(data) if data else SENT
            if sent == BROKEN:
                self.close()
                return
            if sent == PENDING:
                end.peer.pause()
        if not self.server.out:
            self.near.resume()

    def close(self, own_answer: OwnAnswer | None = None) -> None:
        """Close both ends and end the exchange."""
        if self.near.fd < 0:
            return
        self.near.close()
        self.server.close()
        self.exchange.own_answer = own_answer
        self.exchange.end_tunnel()
        self.visitor.cut()

    def check(self, now: float) -> None:
        """Once a second: a tunnel in which nothing moves is closed."""
        if now - self.active > rolling_s(self.exchange):
            self.close(ANSWERS["idle"])

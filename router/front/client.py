"""A client's connection in either version of HTTP: reading, lingering, closing, timeouts."""

from __future__ import annotations

import os
import socket
import struct
from typing import Final

from router.io.stream import READ_BYTES
from router.io.tls import Secure
from router.middle.sides import Visitor
from router.shared import Shared
from router.wire import rewrite
from router.wire.heads import HeadMemory

LINGER_BYTES: Final = 4 * 1024 * 1024
FORGET_S: Final = 5.0
"""A connection that has been idle for so long no longer remembers its last head."""
_RESET = struct.pack("ii", 1, 0)


class ClientConnection(Visitor):
    """`ended` says that the client sends no more: it may still read an answer that has begun, else it is taken for
    gone; `lingering` counts the bytes that are still read and discarded; `since` is when an incomplete head began, or
    lingering."""

    __slots__ = ("ended", "heads", "lingering", "since")

    def __init__(
        self, shared: Shared, fd: int, address: bytes, port: int, secure: Secure | None = None
    ) -> None:
        super().__init__(shared.loop, fd)
        self.shared = shared
        self.address = address
        self.port = port
        self.secure = secure
        self.protocol = b"http" if secure is None else b"https"
        self.forward_lines = rewrite.forward_lines(self.scheme, port)
        self.trusted = shared.trusts(address)
        self.heads = HeadMemory(shared.trusted_requests if self.trusted else shared.requests)
        self.active = shared.loop.now
        self.received = 0
        self.since = 0.0
        self.ended = False
        self.lingering = 0
        if fd >= 0:  # a stream of HTTP/2 has none
            shared.clients.add(self)
            shared.loop.handle(fd, self)

    def readable(self) -> None:
        try:
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

    def linger(self) -> None:
        """Close without a reset that could overtake the answer: send FIN, read and discard for a moment."""
        self.lingering = self.lingering or LINGER_BYTES
        if self.out:
            return
        if self.ended:
            self.cut()
            return
        self.since = self.loop.now
        if not self.shut():
            self.cut()
        if self.fd >= 0:
            self.resume()

    def discard(self, count: int) -> None:
        """While lingering: `count` bytes were read and are dropped; 0 means that the client has ended."""
        self.lingering -= count
        if not count or self.lingering <= 0:
            self.cut()

    def cut(self, *, reset: bool = False) -> None:
        self.shared.clients.discard(self)
        if reset and self.fd >= 0:
            sock = socket.socket(fileno=self.fd)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            sock.detach()
            self.secure = None
        self.close()

    def check_linger(self, now: float) -> None:
        """Once a second while it lingers."""
        limits = self.shared.limits
        waits = self.out is None and now - self.since > limits.linger_s
        if waits or now - self.active > limits.rolling_s:
            self.cut()

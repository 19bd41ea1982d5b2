"""The life of a connection to a backend: it connects, carries a request, waits in the pool, ends."""

from __future__ import annotations

import socket

from router.io.loop import IN, OUT
from router.io.pipes import Pipe
from router.middle.exchange import Exchange
from router.middle.sides import Upstream
from router.rules.own_answers import ANSWERS
from router.rules.route import Backend
from router.shared import Shared
from router.wire.body import Body


class PooledConnection(Upstream):
    """`exchange` is None while the connection is idle; `interims` counts the interim answers (1xx) to its request.
    `BackendConnection` adds the reading of answers."""

    __slots__ = ("exchange", "interims", "owner", "shared", "watched")

    def __init__(self, shared: Shared, fd: int, owner: Backend) -> None:
        super().__init__(shared.loop, fd, IN | OUT)
        self.shared = shared
        self.owner = owner
        self.exchange: Exchange | None = None
        self.interims = 0
        self.body: Body | None = None
        self.pipe: Pipe | None = None
        self.connecting = True
        self.reused = False
        self.lasting = False
        self.idle_since = shared.loop.now
        self.watched = True
        shared.loop.add(fd, self, self.mask)

    def _connected(self) -> None:
        """Connecting has succeeded or failed: find out which."""
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

    def read_on(self) -> None:
        if self.fd >= 0 and self.exchange is not None and not self.exchange.visitor.out:
            self.resume()

    def wrote(self) -> None:
        if self.exchange is not None:
            self.exchange.active = self.loop.now

    def drained(self) -> None:
        if self.exchange is not None and self.exchange.uploading:
            self.exchange.visitor.resume()

    def lost(self) -> None:
        """Writing failed: the answer, if there is one, is still to be read."""
        exchange = self.exchange
        if exchange is not None:
            exchange.unheard = True
            self.watch(IN)

    def abort(self) -> None:
        exchange = self.exchange
        if exchange is not None:
            exchange.fail(ANSWERS["platform"])
        else:
            self.discard()

    def park(self) -> None:
        """Wait in the pool; an end of the connection is still seen."""
        self.exchange = None
        self.body = None
        self.interims = 0
        self.reused = True
        self.idle_since = self.loop.now
        if self.mask != IN:
            self.watch(IN)
        self.owner.idle.append(self)

    def discard(self) -> None:
        """An idle connection ended, or sent something without a request: close it."""
        if self in self.owner.idle:
            self.owner.idle.remove(self)
        self.close()

    def close(self) -> None:
        self.exchange = None
        if self.pipe is not None:
            self.shared.pipes.give(self.pipe)
            self.pipe = None
        super().close()

"""Bodies of which much is still to come: they move without becoming objects, and answers, where both ends are plain
sockets, without even being copied, through a pipe."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING, Final

from router.io.loop import IN, OUT
from router.io.stream import BIG, BIG_VIEW, BROKEN, PENDING, READ_BYTES

if TYPE_CHECKING:
    from router.back.connection import BackendConnection
    from router.front.http1 import ClientConnection
    from router.middle.exchange import Exchange

SPLICE_BYTES: Final = 256 * 1024
"""With less left to come a pipe is not worth its while."""
TAIL_BYTES: Final = 4096
"""Read like small bodies, so that bytes beyond the end are seen."""
PIPE_BYTES: Final = 1024 * 1024
MAX_PIPES: Final = 32
FEW: Final = BIG_VIEW[:READ_BYTES]
"""For streams of HTTP/2: a connection has many, each may have to keep what it was given."""
_FLAGS: Final = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


class Pipe:
    """`held` bytes are in it."""

    __slots__ = ("held", "into", "out_of")

    def __init__(self) -> None:
        self.held = 0
        self.out_of, self.into = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # a user may have so many pages in pipes only
            fcntl.fcntl(self.into, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def close(self) -> None:
        os.close(self.out_of)
        os.close(self.into)


class Pipes:
    """The pipes of a worker: a few, so that clients who do not read cannot have all the memory."""

    def __init__(self) -> None:
        self._idle: list[Pipe] = []
        self.lent = 0

    def take(self) -> Pipe | None:
        """An empty pipe, None when all are in use."""
        pipe: Pipe | None = None
        if self._idle:
            pipe = self._idle.pop()
        elif self.lent < MAX_PIPES:
            with contextlib.suppress(OSError):
                pipe = Pipe()
        if pipe is not None:
            self.lent += 1
        return pipe

    def give(self, pipe: Pipe) -> None:
        """Take back a pipe; what is in it is lost."""
        self.lent -= 1
        if pipe.held:
            pipe.close()
        else:
            self._idle.append(pipe)


def relay(connection: BackendConnection) -> None:
    """Pass on what has come of a body with a length."""
    exchange = connection.exchange
    assert exchange is not None
    client = exchange.client
    pipe = connection.pipe
    plain = client.secure is None and client.fd >= 0
    if pipe is None and plain and not client.out and connection.left >= SPLICE_BYTES:
        pipe = connection.pipe = connection.proxy.pipes.take()
    if pipe is None:
        _copy(connection, exchange)
        return
    if connection.left <= TAIL_BYTES:  # the tail follows when the pipe is empty
        connection.pause()
        return
    try:
        count = os.splice(connection.fd, pipe.into, connection.left - TAIL_BYTES, flags=_FLAGS)
    except BlockingIOError:
        if pipe.held:  # it has no place left
            connection.pause()
        return
    except OSError:
        connection.over(reset=True)
        return
    if not count:
        connection.over(reset=False)
        return
    exchange.active = connection.loop.now
    exchange.body_bytes += count
    connection.left -= count
    pipe.held += count
    pour(connection, exchange, pipe)


def pour(connection: BackendConnection, exchange: Exchange, pipe: Pipe) -> None:
    """Give the client what is in the pipe; a client that is slower stops the reading."""
    client = exchange.client
    try:
        count = os.splice(pipe.out_of, client.fd, pipe.held, flags=_FLAGS)
    except BlockingIOError:
        count = 0
    except OSError:
        client.lost()
        return
    if count:
        exchange.active = client.active = client.loop.now
        pipe.held -= count
    last = connection.left <= TAIL_BYTES
    if pipe.held:
        client.watch(client.mask | OUT)
        if last or pipe.held >= PIPE_BYTES // 2:
            connection.pause()
        elif count:
            connection.resume()
        return
    client.watch(client.mask & ~OUT)
    if last:
        connection.pipe = None
        connection.proxy.pipes.give(pipe)
    if not connection.mask & IN:
        connection.resume()


def _copy(connection: BackendConnection, exchange: Exchange) -> None:
    try:
        count = os.readv(connection.fd, [BIG if exchange.client.fd >= 0 else FEW])
    except BlockingIOError:
        return
    except OSError:
        connection.over(reset=True)
        return
    if not count:
        connection.over(reset=False)
        return
    if count > connection.left:
        count = connection.left
        connection.lasting = False
    exchange.active = connection.loop.now
    exchange.body_bytes += count
    connection.left -= count
    if connection.left:
        connection.deliver(exchange, BIG_VIEW[:count])
    else:
        connection.last(exchange, BIG_VIEW[:count])


def relay_upload(client: ClientConnection, exchange: Exchange) -> bool:
    """Pass on what has come of a request's body. False, having done nothing, where it has to be looked at or kept."""
    body, connection = exchange.body, exchange.connection
    if body is None or body.left <= READ_BYTES or connection is None or client.secure is not None:
        return False
    if exchange.replay is not None or exchange.unheard:
        return False
    try:
        count = os.readv(client.fd, [BIG_VIEW[: body.left - 1]])
    except OSError:
        return False  # as the next read will say
    if not count:
        return False
    client.active = exchange.active = client.loop.now
    client.received += count
    body.pass_by(count)
    sent = connection.send(BIG_VIEW[:count])
    if sent == PENDING:
        client.pause()
    elif sent == BROKEN:
        exchange.unheard = True
    return True

"""Large bodies are not made into objects: they are spliced through a pipe where both ends are plain sockets, or copied
through one shared buffer."""

from __future__ import annotations

import os
from typing import Final

from router.io.loop import IN, OUT
from router.io.pipes import PIPE_BYTES, Pipe
from router.io.stream import BIG, BIG_VIEW, BROKEN, PENDING, READ_BYTES
from router.middle.exchange import Exchange
from router.middle.sides import Upstream, Visitor
from router.wire.body import Body

SPLICE_BYTES: Final = 256 * 1024
"""With less left to come a pipe costs more than it saves."""
TAIL_BYTES: Final = 4096
"""Read like small bodies, so that bytes beyond the end are seen."""
SMALL_BUFFER: Final = BIG_VIEW[:READ_BYTES]
"""For streams of HTTP/2: a connection has many, each may have to keep what it was given."""
_FLAGS: Final = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


def relay(upstream: Upstream, exchange: Exchange, body: Body) -> None:
    """Pass on what has come of an answer whose length is known."""
    visitor = exchange.visitor
    pipe = upstream.pipe
    if pipe is None and _can_splice(visitor) and body.left >= SPLICE_BYTES:
        pipe = upstream.pipe = exchange.shared.pipes.take()
    if pipe is None:
        _copy(upstream, exchange, body)
        return
    if body.left <= TAIL_BYTES:  # the tail follows when the pipe is empty
        upstream.pause()
        return
    try:
        count = os.splice(upstream.fd, pipe.into, body.left - TAIL_BYTES, flags=_FLAGS)
    except BlockingIOError:
        if pipe.held:  # it has no place left
            upstream.pause()
        return
    except OSError:
        upstream.over(reset=True)
        return
    if not count:
        upstream.over(reset=False)
        return
    exchange.active = upstream.loop.now
    exchange.body_bytes += count
    body.left -= count  # the tail is still to come: never done here
    pipe.held += count
    pour(visitor, exchange, upstream, pipe, body)


def _can_splice(visitor: Visitor) -> bool:
    return visitor.secure is None and visitor.fd >= 0 and not visitor.out


def pour(visitor: Visitor, exchange: Exchange, upstream: Upstream, pipe: Pipe, body: Body) -> None:
    """Give the visitor what is in the pipe; one that is slower stops the reading."""
    try:
        count = os.splice(pipe.out_of, visitor.fd, pipe.held, flags=_FLAGS)
    except BlockingIOError:
        count = 0
    except OSError:
        visitor.lost()
        return
    if count:
        exchange.active = visitor.active = visitor.loop.now
        pipe.held -= count
    last = body.left <= TAIL_BYTES
    if pipe.held:
        visitor.watch(visitor.mask | OUT)
        if last or pipe.held >= PIPE_BYTES // 2:
            upstream.pause()
        elif count:
            upstream.resume()
        return
    visitor.watch(visitor.mask & ~OUT)
    if last:
        upstream.pipe = None
        exchange.shared.pipes.give(pipe)
    if not upstream.mask & IN:
        upstream.resume()


def _copy(upstream: Upstream, exchange: Exchange, body: Body) -> None:
    try:
        count = os.readv(upstream.fd, [BIG if exchange.visitor.fd >= 0 else SMALL_BUFFER])
    except BlockingIOError:
        return
    except OSError:
        upstream.over(reset=True)
        return
    if not count:
        upstream.over(reset=False)
        return
    if count > body.left:
        count = body.left
        upstream.lasting = False
    exchange.active = upstream.loop.now
    exchange.body_bytes += count
    body.skip(count)
    if body.done:
        exchange.complete(upstream, BIG_VIEW[:count])
    else:
        exchange.deliver(BIG_VIEW[:count])


def relay_upload(visitor: Visitor, exchange: Exchange, body: Body | None) -> bool:
    """Pass on what has come of a request's body. False, having done nothing, where it has to be looked at or kept."""
    upstream = exchange.upstream
    if body is None or body.left <= READ_BYTES or upstream is None or visitor.secure is not None:
        return False
    if exchange.replay is not None or exchange.unheard:
        return False
    try:
        count = os.readv(visitor.fd, [BIG_VIEW[: body.left - 1]])
    except OSError:
        return False  # as the next read will say
    if not count:
        return False
    visitor.active = exchange.active = visitor.loop.now
    visitor.received += count
    exchange.received += count
    body.skip(count)
    sent = upstream.send(BIG_VIEW[:count])
    if sent == PENDING:
        visitor.pause()
    elif sent == BROKEN:
        exchange.unheard = True
    return True

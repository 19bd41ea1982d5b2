"""Bodies of answers of which much is still to come: they move without becoming objects."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from router.stream import BIG, BIG_VIEW

if TYPE_CHECKING:
    from router.backend import BackendConnection


def relay(connection: BackendConnection) -> None:
    """Pass on what has come of a body with a length."""
    exchange = connection.exchange
    assert exchange is not None
    try:
        count = os.readv(connection.fd, [BIG])
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

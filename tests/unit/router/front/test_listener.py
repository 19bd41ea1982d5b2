"""The listener: clients it takes, and those that are given up for them when descriptors run out."""

from __future__ import annotations

import contextlib
import socket

from harness.router import End, Rig

from router.front.client_limits import FEW_IDLE, IdleEviction
from router.front.listener import Listener

ASK = b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_a_listener_that_has_no_place_for_more_can_still_be_closed(rig: Rig) -> None:
    """A worker that is full is to end in good order, too."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        listener = Listener(rig.entrance, sock, IdleEviction(rig.shared))
        listener._limit = 0
        with socket.create_connection(sock.getsockname()):
            rig.run()
            assert listener.paused
            listener.close()
        assert sock.fileno() == -1
    rig.advance(3)
    assert not rig.shared.on_tick


def test_idle_connections_are_given_up_for_new_ones(rig: Rig) -> None:
    """Those that have been idle longest; none that has a request, and none that came just now."""
    idle = [rig.client() for _ in range(FEW_IDLE + 10)]
    busy, used = rig.client(), rig.client()
    busy.send(ASK)
    rig.advance(1)
    used.send(ASK)
    rig.backend.send(OK)
    rig.advance(2)
    fresh = rig.client()
    with socket.create_server(("127.0.0.1", 0)) as sock, contextlib.ExitStack() as stack:
        listener = Listener(rig.entrance, sock, IdleEviction(rig.shared))

        def knock() -> set[End]:
            """One more client than there is a place for; who is closed then."""
            listener._limit = len(rig.shared.clients)
            stack.enter_context(socket.create_connection(sock.getsockname()))
            rig.run()
            for client in every:
                client.read()
            return {client for client in every if client.closed}

        every = [*idle, busy, used, fresh]
        closed = knock()
        assert closed < set(idle) and len(closed) == FEW_IDLE == rig.shared.metrics.given_up
        rig.advance(0.5)
        assert knock() == {*idle, used}, "the rest, which are few"
        assert not listener.paused
        rig.now += 0.1
        assert knock() == {*idle, used} and listener.paused, "nobody has been idle for a second"
        rig.advance(2)
        assert not listener.paused and not busy.closed
        fresh.read()
        assert fresh.closed
        listener.close()

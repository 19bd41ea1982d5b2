"""The accept loop, turn by turn, with connections that have not sent their version line."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from paas.receive.limits import Limits
from paas.ssh.accept import Server
from paas.ssh.paramiko_transport import VERSION


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(False)
        yield sock


def server(listener: socket.socket, **limits: Any) -> Server:
    poke, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    made = Server(listener, cast(Any, SimpleNamespace(limits=Limits(**limits))), lambda: None, poke)
    made._next_housekeeping = float("inf")
    return made


def connect(listener: socket.socket) -> socket.socket:
    return socket.create_connection(listener.getsockname(), 10)


def test_a_client_that_speaks_as_it_makes_room_does_not_stop_the_loop(listener: socket.socket) -> None:
    loop = server(listener, waiting=1)
    with connect(listener) as first:
        loop.turn()
        assert first.recv(100) == VERSION.encode() + b"\r\n"
        first.sendall(b"SSH-")
        with connect(listener) as second:
            loop.turn()
            assert second.recv(100) == VERSION.encode() + b"\r\n"
            with pytest.raises(ConnectionError):
                first.recv(100)
            second.sendall(b"SSH-2.0-half a line")
            loop.turn()
            assert not loop._ready and len(loop._sockets) == 1


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n", b"SSH-2.0-" + b"x" * 300, b"SSH-1.99-x\r\n"])
def test_a_client_that_does_not_speak_ssh_is_closed(listener: socket.socket, said: bytes) -> None:
    loop = server(listener)
    with connect(listener) as client:
        loop.turn()
        client.sendall(said)
        loop.turn()
        assert client.recv(100) == VERSION.encode() + b"\r\n"
        with pytest.raises(ConnectionError):
            client.recv(100)
    assert not loop._sockets


def test_one_source_has_a_limit_before_the_others_are_asked_to_leave(listener: socket.socket) -> None:
    loop = server(listener, waiting_per_source=1)
    with connect(listener), connect(listener) as second:
        loop.turn()
        assert second.recv(100) == b"" and len(loop._sockets) == 1

"""Bytes between a client that upgraded and a shim: both ways, until either end closes."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
from flask import Flask, request

from paas.api.relay import PROTOCOL, connect, relay, wants_upgrade
from paas.nouns.errors import BadInput, Unavailable


@pytest.mark.parametrize(
    "headers",
    [{}, {"Upgrade": PROTOCOL}, {"Connection": "Upgrade"}, {"Connection": "Upgrade", "Upgrade": "websocket"}],
    ids=str,
)
def test_another_protocol_is_refused(headers: dict[str, str]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, Flask("x").test_request_context("/", headers=headers):
        request.environ["gunicorn.socket"] = ours
        with pytest.raises(BadInput, match="attach protocol only"):
            wants_upgrade()


def test_the_socket_of_one_that_asks_for_it_is_taken() -> None:
    ours, theirs = socket.socketpair()
    headers = {"Connection": "keep-alive, Upgrade", "Upgrade": PROTOCOL.upper()}
    with ours, theirs, Flask("x").test_request_context("/", headers=headers):
        request.environ["gunicorn.socket"] = ours
        assert wants_upgrade() is ours


def test_a_shim_that_is_gone_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="The process has ended"):
        connect(str(tmp_path / "attach.sock"))


def test_bytes_go_both_ways_until_the_shim_is_done() -> None:
    client, visitor = socket.socketpair()
    shim, process = socket.socketpair()
    answers = []
    running = threading.Thread(target=lambda: answers.append(relay(client, shim)))
    running.start()
    with client, visitor, process:
        assert visitor.recv(4096).startswith(b"HTTP/1.1 101 ")
        visitor.sendall(b"typed")
        assert process.recv(4096) == b"typed"
        process.sendall(b"printed")
        process.shutdown(socket.SHUT_WR)
        assert visitor.recv(4096) == b"printed"
        assert visitor.recv(4096) == b""
        running.join(30)
    assert not running.is_alive() and answers[0].headers["Connection"] == "close"


def test_a_client_that_goes_closes_the_shim() -> None:
    client, visitor = socket.socketpair()
    shim, process = socket.socketpair()
    running = threading.Thread(target=lambda: relay(client, shim))
    running.start()
    with client, process:
        assert visitor.recv(4096).startswith(b"HTTP/1.1 101 ")
        visitor.close()
        assert process.recv(4096) == b""
        running.join(30)
    assert not running.is_alive()

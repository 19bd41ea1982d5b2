"""Upgrades: only what was asked for, only after a valid 101, then bytes both ways."""

from __future__ import annotations

import pytest
from harness.router import End, Rig

ASK = b"GET /ws HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
YES = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n"
SENT_YES = (
    b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\nVia: 1.1 paas-router\r\n"
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
)


def upgraded(rig: Rig) -> End:
    client = rig.client()
    client.send(ASK)
    rig.backend.take()
    rig.backend.send(YES)
    assert client.take() == SENT_YES
    return client


def test_bytes_go_both_ways_untouched(rig: Rig) -> None:
    client = upgraded(rig)
    client.send(b"GET / HTTP/1.1\r\n\r\n")
    assert rig.backend.take() == b"GET / HTTP/1.1\r\n\r\n"
    rig.backend.send(b"\x00\xff" * 100_000)
    assert client.take() == b"\x00\xff" * 100_000


def test_bytes_behind_the_101_and_before_it(rig: Rig) -> None:
    client = rig.client()
    client.send(ASK + b"early")
    assert b"early" not in rig.backend.take()
    rig.backend.send(YES + b"hello")
    assert client.take() == SENT_YES + b"hello"
    assert rig.backend.take() == b"early"
    client.send(b"more")
    assert rig.backend.take() == b"more"


@pytest.mark.parametrize("side", ["client", "backend"])
def test_a_half_close_is_passed_on(rig: Rig, side: str) -> None:
    client = upgraded(rig)
    one, other = (client, rig.backend) if side == "client" else (rig.backend, client)
    one.send(b"last words")
    one.finish()
    assert other.take() == b"last words" and other.closed
    other.closed = False
    other.send(b"answer")
    assert one.take() == b"answer"
    other.finish()
    one.read()
    assert one.closed
    assert rig.shared.clients == set()
    [entry] = rig.log()
    assert (entry.status, entry.own_answer) == (101, None)


def test_a_failed_upgrade_is_ordinary_http(rig: Rig) -> None:
    client = rig.client()
    client.send(ASK)
    rig.backend.send(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno")
    assert client.take().endswith(b"no")
    client.send(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
    assert rig.backend.take().count(b"GET / HTTP/1.1\r\n") == 1
    rig.backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert client.take().endswith(b"ok")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\n\r\n",
    ],
)
def test_another_protocol_than_asked_for_is_502(rig: Rig, answer: bytes) -> None:
    client = rig.client()
    client.send(ASK)
    rig.backend.send(answer)
    assert client.read().startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize("ask", [ASK.replace(b"HTTP/1.1", b"HTTP/1.0"), ASK.replace(b"websocket", b"h2c")])
def test_a_switch_that_was_not_asked_for_is_502(rig: Rig, ask: bytes) -> None:
    client = rig.client()
    client.send(ask)
    assert b"\r\nUpgrade:" not in rig.backend.take()
    rig.backend.send(YES)
    assert client.read().startswith(b"HTTP/1.1 502 ")
    assert rig.backend.read() == b"" and rig.backend.closed


def test_a_crash_of_the_backend_closes_the_client(rig: Rig) -> None:
    client = upgraded(rig)
    client.send(b"unread")
    rig.backend.crash()
    client.read()
    assert client.closed


def test_a_tunnel_in_which_nothing_moves_is_closed(rig: Rig) -> None:
    client = upgraded(rig)
    for _ in range(4):
        rig.advance(50)
        client.send(b"ping")
    rig.advance(58)
    client.read()
    assert client.closed
    assert rig.log()[0].own_answer.code == "H15"


@pytest.mark.parametrize(
    ("before", "after", "lasts"), [(10, 10, 10), (0, 10, 10), (10, 0, 55), (10, 100, 100)]
)
def test_a_tunnel_has_the_time_that_its_app_has_now(before: float, after: float, lasts: int) -> None:
    rig = Rig(rolling_s=before)
    client = upgraded(rig)
    rig.set_table(("i1",), rolling_s=after)
    rig.advance(lasts - 1)
    client.read()
    assert not client.closed
    rig.advance(4)
    client.read()
    assert client.closed and rig.log()[0].own_answer.code == "H15"
    rig.close()


def test_a_slow_reader_stops_the_other_side(rig: Rig) -> None:
    client = upgraded(rig)
    sent = 0
    with pytest.raises(BlockingIOError):
        while sent < 50_000_000:
            sent += rig.backend.sock.send(b"x" * 65536)
            rig.run()
    assert sent < 3_000_000
    received = 0
    while received < sent:
        rig.run()
        data = client.take()
        assert data
        received += len(data)
    assert received == sent

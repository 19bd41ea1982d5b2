"""Big bodies of answers: they come whole, whoever is slow, and what breaks off leaves nothing behind."""

from __future__ import annotations

import random

import pytest
from harness.router import End, Rig

from router.io.pipes import MAX_PIPES, PIPE_BYTES

GET = b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"
BIG = random.Random(4).randbytes(5 * 1024 * 1024)


def ask(rig: Rig, size: int = len(BIG)) -> End:
    client = rig.client()
    client.send(GET)
    rig.backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
    return client


def push(rig: Rig, data: bytes) -> int:
    """Send until the router takes no more for now; how much that was."""
    sent = 0
    while sent < len(data):
        try:
            sent += rig.backend.sock.send(data[sent : sent + 65536])
        except BlockingIOError:
            rig.run()
            try:
                sent += rig.backend.sock.send(data[sent : sent + 65536])
            except BlockingIOError:
                break
    rig.run()
    return sent


def transfer(rig: Rig, client: End, data: bytes) -> bytes:
    """Send it all, with a client that reads now and then; the body that came."""
    while data:
        data = data[push(rig, data) :]
        client.read()
        rig.run()
    before = -1
    while len(client.got) > before:
        before = len(client.got)
        client.read()
        rig.run()
    return client.got.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("pipes", [True, False])
def test_a_big_body_comes_whole_and_both_connections_live_on(rig: Rig, pipes: bool) -> None:
    if not pipes:
        rig.shared.pipes.lent = MAX_PIPES
    client = ask(rig)
    assert transfer(rig, client, BIG) == BIG
    assert rig.shared.pipes.lent == (0 if pipes else MAX_PIPES)
    assert [entry.body_bytes for entry in rig.log()] == [len(BIG)]
    client.take()
    client.send(GET)
    rig.backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert client.take().endswith(b"\r\n\r\nok")
    assert len(rig.dialled) == 1


def test_what_is_sent_while_a_body_comes_is_answered_after_it(rig: Rig) -> None:
    client = ask(rig)
    sent = push(rig, BIG)
    client.send(GET)
    assert transfer(rig, client, BIG[sent:]) == BIG
    client.take()
    rig.backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert client.take().endswith(b"\r\n\r\nok")


def test_a_client_that_does_not_read_stops_the_reading_at_the_backend(rig: Rig) -> None:
    client = ask(rig, 100 * len(BIG))
    assert push(rig, BIG * 4) < 2 * PIPE_BYTES
    assert rig.shared.pipes.lent == 1
    rig.run()  # ends: nothing is tried again and again
    client.close()
    assert rig.shared.pipes.lent == 0
    assert [entry.status for entry in rig.log()] == [499]


@pytest.mark.parametrize("slow", [True, False])
def test_a_body_that_breaks_off_ends_the_client_and_what_was_under_way_is_lost(rig: Rig, slow: bool) -> None:
    client = ask(rig)
    if slow:
        push(rig, BIG)
    else:
        transfer(rig, client, BIG[:-100_000])
    rig.backend.sock.close()
    rig.run()
    for _ in range(100):
        client.read()
        rig.run()
    body = client.got.partition(b"\r\n\r\n")[2]
    assert client.closed and BIG.startswith(body) and len(body) < len(BIG)
    assert rig.shared.pipes.lent == 0
    other = ask(rig)
    assert transfer(rig, other, BIG) == BIG, "nothing of one body comes to another client"


def test_bytes_behind_the_body_are_not_passed_on_and_the_connection_is_not_used_again(rig: Rig) -> None:
    client = ask(rig)
    assert transfer(rig, client, BIG + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil") == BIG
    client.take()
    client.send(GET)
    rig.backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert client.take().endswith(b"\r\n\r\nok")
    assert len(rig.dialled) == 2


def test_a_client_that_reads_nothing_for_long_is_let_go(rig: Rig) -> None:
    client = ask(rig)
    push(rig, BIG)
    rig.advance(60)
    client.read()
    assert [(entry.status, entry.own_answer.code) for entry in rig.log()] == [(499, "H27")]
    assert rig.shared.pipes.lent == 0


def test_a_big_upload_comes_whole_and_what_follows_it_is_the_next_request(rig: Rig) -> None:
    client = rig.client()
    data = b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: %d\r\n\r\n%b" % (len(BIG), BIG) + GET
    while data:
        try:
            data = data[client.sock.send(data[:1_000_000]) :]
        except BlockingIOError:
            rig.run()
            rig.backend.read()
        rig.run()
    for _ in range(200):
        rig.backend.read()
        rig.run()
    assert rig.backend.take().partition(b"\r\n\r\n")[2] == BIG
    for _ in range(2):
        rig.backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert client.take().endswith(b"\r\n\r\nok")
    assert rig.backend.take().startswith(b"GET / ")
    assert [entry.status for entry in rig.log()] == [200, 200]


def test_a_big_upload_that_breaks_off_is_no_whole_request(rig: Rig) -> None:
    client = rig.client()
    client.send(b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: %d\r\n\r\n" % len(BIG))
    for at in range(0, 1_000_000, 100_000):
        client.send(BIG[at : at + 100_000])
        rig.backend.read()
    client.finish()
    rig.backend.read()
    assert rig.backend.closed
    assert [entry.status for entry in rig.log()] == [499]

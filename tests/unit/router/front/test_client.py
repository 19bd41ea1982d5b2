"""How a client's connection ends: it reads on for a moment after the last answer, but only so much, or is reset."""

from __future__ import annotations

from harness.router import End, Rig

from router.front.client import LINGER_BYTES

BAD = b"GET / HTTP/9.9\r\n\r\n"
PIECE = 60_000
GET = b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"


def lingering(rig: Rig) -> End:
    """A client that was answered for the last time, and told so."""
    client = rig.client()
    client.send(BAD)
    assert client.take().startswith(b"HTTP/1.1 ") and client.closed
    client.closed = False
    return client


def test_what_comes_after_the_last_answer_is_read_so_that_no_reset_overtakes_it(rig: Rig) -> None:
    client = lingering(rig)
    client.send(GET * 1000)
    assert len(rig.shared.clients) == 1 and rig.dialled == []
    client.finish()
    assert not rig.shared.clients
    client.read()
    assert not client.reset


def test_only_so_much_is_read_after_the_last_answer(rig: Rig) -> None:
    client = lingering(rig)
    sent = 0
    while rig.shared.clients:
        sent += client.sock.send(b"x" * PIECE)
        rig.run()
    assert LINGER_BYTES - PIECE <= sent <= LINGER_BYTES + PIECE


def test_an_answer_without_a_length_that_breaks_off_is_no_clean_end(rig: Rig) -> None:
    client = rig.client()
    client.send(b"GET / HTTP/1.0\r\nHost: app.test\r\n\r\n")
    rig.backend.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    assert client.take().endswith(b"hello")
    rig.backend.close()
    assert not rig.shared.clients and client.read() == b"" and client.closed

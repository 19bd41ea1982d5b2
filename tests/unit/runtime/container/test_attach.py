"""One client at a time on a real socket: what is kept for it, what it may send, and how it goes."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime import frames
from runtime.container.attach import Attach

PIECE = 32 * 1024


class Served:
    """An Attach with its socket's path; `dial` makes clients that the teardown closes."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(4)
        self.attach = Attach(self.listener)
        self.clients: list[socket.socket] = []

    def dial(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.connect(self.path)
        client.setblocking(False)
        self.clients.append(client)
        self.attach.accept()
        return client

    def close(self) -> None:
        self.attach.hang_up()
        for one in (self.listener, *self.clients):
            one.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path / "attach.sock")
    yield made
    made.close()


def heard(client: socket.socket) -> list[tuple[int, bytes]]:
    return frames.FrameDecoder().feed(client.recv(1 << 20))


def test_output_waits_for_the_first_client(served: Served) -> None:
    served.attach.put(frames.STDOUT, b"before")
    client = served.dial()
    served.attach.put(frames.STDERR, b"after")
    assert served.attach.connected and served.attach.pending()
    assert served.attach.send() and not served.attach.pending()
    assert heard(client) == [(frames.STDOUT, b"before"), (frames.STDERR, b"after")]


def test_nobody_is_waited_for_beyond_the_time_and_what_was_kept_is_dropped(served: Served) -> None:
    due = served.attach.awaited_until
    assert due is not None
    served.attach.put(frames.STDOUT, b"early")
    served.attach.give_up_if_due(due - 0.1)
    assert served.attach.pending()
    served.attach.give_up_if_due(due)
    assert served.attach.awaited_until is None and not served.attach.pending()
    served.attach.put(frames.STDOUT, b"nobody hears this")
    assert not served.attach.pending()
    client = served.dial()
    served.attach.put(frames.STDOUT, b"late, and welcome")
    assert served.attach.send()
    assert heard(client) == [(frames.STDOUT, b"late, and welcome")]


def test_a_client_that_came_in_time_is_not_given_up(served: Served) -> None:
    due = served.attach.awaited_until
    assert due is not None
    served.dial()
    served.attach.put(frames.STDOUT, b"kept")
    served.attach.give_up_if_due(due + 1)
    assert served.attach.pending()


def test_a_second_client_is_closed_and_the_first_is_served_on(served: Served) -> None:
    first, second = served.dial(), served.dial()
    assert second.recv(1) == b""
    served.attach.put(frames.STDOUT, b"x")
    assert served.attach.send() and heard(first) == [(frames.STDOUT, b"x")]


def test_accepting_when_nobody_is_there_changes_nothing(served: Served) -> None:
    served.attach.accept()
    assert not served.attach.connected and served.attach.awaited_until is not None


def test_long_output_is_cut_into_frames_that_the_peer_accepts_and_an_empty_one_is_one_frame(
    served: Served,
) -> None:
    client = served.dial()
    served.attach.put(frames.STDOUT, b"a" * (2 * PIECE + 1))
    served.attach.put(frames.EXIT, b"")
    decoder, found = frames.FrameDecoder(), []
    while served.attach.pending():
        assert served.attach.send()
        found += decoder.feed(client.recv(1 << 20))
    assert [(channel, len(payload)) for channel, payload in found] == [
        (frames.STDOUT, PIECE),
        (frames.STDOUT, PIECE),
        (frames.STDOUT, 1),
        (frames.EXIT, 0),
    ]


def test_a_client_that_reads_nothing_stops_the_reading_of_output_and_nothing_is_lost(served: Served) -> None:
    client = served.dial()
    sent = 0
    while served.attach.has_room():
        served.attach.put(frames.STDOUT, b"a" * PIECE)
        assert served.attach.send(), "a full socket is no lost client"
        sent += PIECE
    assert (served.attach.interest(read=False)[1][1]) == select.POLLOUT
    decoder, got = frames.FrameDecoder(), 0
    while served.attach.pending():
        got += sum(len(payload) for _, payload in decoder.feed(client.recv(1 << 20)))
        assert served.attach.send()
    while got < sent:
        got += sum(len(payload) for _, payload in decoder.feed(client.recv(1 << 20)))
    assert got == sent and served.attach.has_room()


def test_what_the_loop_is_to_watch(served: Served) -> None:
    attach, listener = served.attach, served.listener.fileno()
    assert attach.interest(read=True) == [(listener, select.POLLIN)]
    assert attach.is_listener(listener) and not attach.is_client(listener)
    served.dial()
    (_, (client, events)) = attach.interest(read=True)
    assert attach.is_client(client) and not attach.is_listener(client)
    assert events == select.POLLIN
    attach.put(frames.STDOUT, b"x")
    assert attach.interest(read=True)[1][1] == select.POLLIN | select.POLLOUT
    attach.send()
    assert attach.interest(read=False)[1][1] == 0


def test_frames_of_the_client_come_in_pieces(served: Served) -> None:
    client = served.dial()
    assert served.attach.receive() == [], "nothing has come yet"
    whole = frames.encode_frame(frames.STDIN, b"hello") + frames.encode_frame(frames.SIGNAL, b"INT")
    client.send(whole[:7])
    assert served.attach.receive() == []
    client.send(whole[7:])
    assert served.attach.receive() == [(frames.STDIN, b"hello"), (frames.SIGNAL, b"INT")]


@pytest.mark.parametrize(
    "said", [b"", b"\xff\0\0\0\0", b"\0\xff\xff\xff\xff"], ids=["end", "channel", "size"]
)
def test_a_client_that_hangs_up_or_breaks_the_protocol_is_gone_and_the_next_is_welcome(
    served: Served, said: bytes
) -> None:
    client = served.dial()
    served.attach.put(frames.STDOUT, b"of the first one")
    client.send(said)
    if not said:
        client.close()
    assert served.attach.receive() is None
    assert not served.attach.connected and not served.attach.pending()
    assert served.attach.receive() == [] and served.attach.send(), "without a client there is nothing to do"
    following = served.dial()
    following.send(frames.encode_frame(frames.STDIN, b"new"))
    assert served.attach.receive() == [(frames.STDIN, b"new")], "no byte of the former client is left"


def test_writing_to_a_client_that_has_gone_says_so(served: Served) -> None:
    served.dial().close()
    served.attach.put(frames.STDOUT, b"x")
    assert not served.attach.send()
    assert not served.attach.connected and not served.attach.pending()

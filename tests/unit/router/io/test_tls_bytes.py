"""What goes through a TLS connection: bodies both ways, slow ends, pipelines, tunnels, and how it ends."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from harness import certificates
from harness.router import End, Rig, SecureEnd
from hypothesis import given, settings
from hypothesis import strategies as st

from router.io.stream import BIG

ASK = b"GET /%d HTTP/1.1\r\nHost: app.test\r\n\r\n"
YES = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"
VIA = b"Via: 1.1 paas-router\r\n"
WEBSOCKET = b"GET /ws HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
MORE_THAN_SOCKETS_HOLD = 3 * 1024 * 1024


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    certificates.put(folder, "app.test")
    return folder


def serve(rig: Rig, files: Path) -> Rig:
    [file] = (files / "certificates").iterdir()
    rig.more = {"certificates": [{"names": ["app.test"], "file": file.name}]}
    rig.serve_tls(files)
    rig.set_table(("i1",))
    return rig


@pytest.fixture
def rig(rig: Rig, files: Path) -> Rig:
    """A router with a certificate for app.test."""
    return serve(rig, files)


def test_pipelined_requests_are_answered_in_order(rig: Rig) -> None:
    client = rig.secure_client().shake()
    client.send(b"".join(ASK % number for number in range(20)))
    for number in range(20):
        assert rig.backend.take().startswith(b"GET /%d HTTP/1.1\r\n" % number)
        rig.backend.send(YES % (2, b"%02d" % number))
    got = client.take()
    assert [part[:2] for part in got.split(b"\r\n\r\n")[1:]] == [b"%02d" % number for number in range(20)]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_big_bodies_go_both_ways(rig: Rig, version: ssl.TLSVersion) -> None:
    context = certificates.client_context()
    context.minimum_version = context.maximum_version = version
    client = rig.secure_client(context=context).shake()
    body = bytes(range(256)) * 8192
    client.tls.write(b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: %d\r\n\r\n" % len(body))
    wire, received = client.outgoing.read() + client.seal(body), b""
    for at in range(0, len(wire), 100_003):
        End.send(client, wire[at : at + 100_003])
        received += rig.backend.take()
    assert received.partition(b"\r\n\r\n")[2] == body
    answer, got = YES % (len(body), body), b""
    for at in range(0, len(answer), 100_003):
        rig.backend.send(answer[at : at + 100_003])
        got += client.take()
    assert got.partition(b"\r\n\r\n")[2] == body


def test_a_client_that_does_not_read_stops_the_backend(rig: Rig) -> None:
    client = rig.secure_client().shake()
    client.send(ASK % 1)
    backend = rig.backend
    backend.take()
    sent = push(backend, YES % (MORE_THAN_SOCKETS_HOLD, b"") + b"x" * MORE_THAN_SOCKETS_HOLD)
    [connection] = rig.shared.clients
    assert sent < MORE_THAN_SOCKETS_HOLD
    assert len(connection.out) < 2 * len(BIG)
    size = 0
    while size < MORE_THAN_SOCKETS_HOLD:
        size += len(client.take().rpartition(b"\r\n\r\n")[2])
        sent += push(
            backend, b"x" * (MORE_THAN_SOCKETS_HOLD + len(YES % (MORE_THAN_SOCKETS_HOLD, b"")) - sent)
        )
        rig.run()
    assert size == MORE_THAN_SOCKETS_HOLD
    assert connection.out is None


def push(end: End, data: bytes) -> int:
    """Send as much as is taken without anybody reading; returns how much."""
    done = 0
    while done < len(data):
        try:
            done += end.sock.send(memoryview(data)[done : done + 65536])
        except BlockingIOError:
            end.rig.run()
            try:
                done += end.sock.send(memoryview(data)[done : done + 65536])
            except BlockingIOError:
                break
    end.rig.run()
    return done


def test_a_backend_that_does_not_read_stops_the_client(rig: Rig) -> None:
    client = rig.secure_client().shake()
    client.send(b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: %d\r\n\r\n" % MORE_THAN_SOCKETS_HOLD)
    wire = client.seal(b"x" * MORE_THAN_SOCKETS_HOLD)
    sent = push(client, wire)
    assert sent < len(wire)
    [connection] = rig.shared.clients
    assert len(connection.exchange.upstream.out) < 2 * 65536
    assert len(connection.buffer) == 0
    received = 0
    while sent < len(wire) or received < MORE_THAN_SOCKETS_HOLD:
        received += len(rig.backend.take().rpartition(b"\r\n\r\n")[2])
        sent += push(client, wire[sent:])
    assert received == MORE_THAN_SOCKETS_HOLD


@settings(max_examples=40)
@given(st.data())
def test_it_does_not_matter_how_records_are_cut(files: Path, data: st.DataObject) -> None:
    rig = serve(Rig(), files)
    client = rig.secure_client().shake()
    request = b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\n\r\nhello"
    pieces = cut(data, request * 2, 6)
    wire = b"".join(map(client.seal, pieces))
    for piece in cut(data, wire, 8):
        End.send(client, piece)
    for _ in range(2):
        assert rig.backend.take().endswith(b"\r\n\r\nhello")
        rig.backend.send(YES % (2, b"ok"))
    assert client.take().count(b"\r\n\r\nok") == 2
    rig.close()


def cut(data: st.DataObject, text: bytes, most: int) -> list[bytes]:
    at = sorted(data.draw(st.lists(st.integers(1, len(text) - 1), max_size=most, unique=True)))
    return [text[start:end] for start, end in zip([0, *at], [*at, len(text)], strict=True)]


# how it ends


def test_the_router_says_goodbye_before_it_closes(rig: Rig) -> None:
    client = rig.secure_client().shake()
    client.send(b"GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n")
    rig.backend.take()
    rig.backend.send(YES % (2, b"ok"))
    assert client.take().endswith(b"\r\n\r\nok")
    assert client.ended and client.closed and not client.reset


def test_an_idle_connection_is_closed_with_a_goodbye(rig: Rig) -> None:
    client = rig.secure_client().shake()
    rig.advance(rig.shared.limits.keep_alive_s + 2)
    client.read()
    assert client.ended and client.closed
    assert rig.shared.clients == set()


def test_a_body_without_length_that_breaks_off_has_no_goodbye(rig: Rig) -> None:
    client = rig.secure_client().shake()
    client.send(b"GET / HTTP/1.0\r\nHost: app.test\r\n\r\n")
    rig.backend.take()
    rig.backend.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    rig.backend.close()
    assert client.take().endswith(b"\r\n\r\nhello")
    assert client.closed and not client.ended


@pytest.mark.parametrize("polite", [True, False])
def test_a_client_that_ends_its_side_gets_the_rest_of_an_answer(rig: Rig, polite: bool) -> None:
    client = rig.secure_client().shake()
    client.send(ASK % 1)
    rig.backend.take()
    rig.backend.send((YES % (2, b"ok"))[:-1])
    if polite:
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.unwrap()
        End.send(client, client.outgoing.read())
    else:
        client.finish()
    rig.backend.send(b"k")
    client.incoming.write(client.received())
    assert client.tls.read(65536).endswith(b"\r\n\r\no") and client.tls.read(65536) == b"k"
    assert client.closed
    assert rig.shared.clients == set()


@pytest.mark.parametrize("polite", [True, False])
def test_a_client_that_ends_before_the_answer_has_gone(rig: Rig, polite: bool) -> None:
    client = rig.secure_client().shake()
    client.send(ASK % 1)
    if polite:
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.unwrap()
        End.send(client, client.outgoing.read())
    else:
        client.finish()
    rig.backend.read()
    assert rig.backend.closed and rig.shared.clients == set()
    assert [entry.status for entry in rig.log()] == [499]


def test_a_client_that_says_goodbye_when_idle_is_let_go(rig: Rig) -> None:
    client = rig.secure_client().shake()
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.unwrap()
    End.send(client, client.outgoing.read())
    client.received()
    assert client.closed
    assert rig.shared.clients == set()


def test_a_truncated_upload_is_no_whole_one(rig: Rig) -> None:
    client = rig.secure_client().shake()
    client.send(b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 100\r\n\r\nhalf")
    wire = client.seal(b"x" * 96)
    End.send(client, wire[:50])
    client.finish()
    assert [entry.status for entry in rig.log()] == [499]
    rig.backend.read()
    assert rig.backend.closed
    assert rig.shared.clients == set()


def test_a_connection_that_is_cut_frees_everything(rig: Rig) -> None:
    for _ in range(3):
        client = rig.secure_client().shake()
        client.send(ASK % 1)
        client.crash()
        rig.backend.read()
        assert rig.backend.closed
    assert rig.shared.clients == set()


# tunnels


def upgraded(rig: Rig) -> SecureEnd:
    client = rig.secure_client().shake()
    client.send(WEBSOCKET)
    rig.backend.take()
    rig.backend.send(SWITCH + b"first")
    assert client.take().endswith(b"\r\n\r\nfirst")
    return client


def test_a_tunnel_carries_bytes_both_ways(rig: Rig) -> None:
    client = upgraded(rig)
    data = bytes(range(256)) * 400
    client.send(data)
    assert rig.backend.take() == data
    rig.backend.send(data)
    assert client.take() == data
    for _ in range(3):
        client.send(b"ping")
        assert rig.backend.take() == b"ping"
        rig.backend.send(b"pong")
        assert client.take() == b"pong"
    client.close()
    [entry] = rig.log()
    assert (entry.status, entry.scheme) == (101, b"https")
    assert rig.shared.clients == set()


def test_a_tunnel_passes_on_half_closes(rig: Rig) -> None:
    client = upgraded(rig)
    rig.backend.send(b"last words")
    rig.backend.finish()
    assert client.take() == b"last words"
    assert client.ended
    client.tls.write(b"answer")
    End.send(client, client.outgoing.read())
    assert rig.backend.take() == b"answer"
    client.finish()
    rig.backend.read()
    assert rig.backend.closed
    assert rig.shared.clients == set()


def test_a_tunnel_waits_for_the_slower_end(rig: Rig) -> None:
    client = upgraded(rig)
    data = b"x" * MORE_THAN_SOCKETS_HOLD
    sent = push(rig.backend, data)
    assert sent < len(data)
    size = 0
    while size < len(data):
        size += len(client.take())
        sent += push(rig.backend, data[sent:])
    assert size == len(data)


def test_garbage_ends_a_tunnel(rig: Rig) -> None:
    client = upgraded(rig)
    End.send(client, b"\x17\x03\x03\x00\x20" + b"x" * 32)
    client.received()
    rig.backend.read()
    assert client.closed and rig.backend.closed
    assert rig.shared.clients == set()

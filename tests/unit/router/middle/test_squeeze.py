"""Compression on the way: for whom, of what, and that nothing else about an answer changes."""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Iterator
from itertools import pairwise

import pytest
from harness.router import End, Rig
from hypothesis import given
from hypothesis import strategies as st

from router.middle.squeeze import MOST, PIECES_A_TURN, Squeeze, accepts_gzip
from router.wire.body import Body
from router.wire.response import CHUNKED, UNTIL_CLOSE

TEXT = b"".join(b"line %d of a long text\n" % number for number in range(2000))
ASK = b"GET / HTTP/1.1\r\nHost: app.test\r\nAccept-Encoding: br, gzip\r\n\r\n"
PLAIN = b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig(("i1",), compress=True)
    yield rig
    rig.close()


def answer(
    *lines: bytes, body: bytes = TEXT, kind: bytes = b"text/html; charset=utf-8", status: bytes = b"200 OK"
) -> bytes:
    head = [
        b"HTTP/1.1 " + status,
        b"Content-Type: " + kind,
        b"Content-Length: %d" % len(body),
        *lines,
        b"",
        b"",
    ]
    return b"\r\n".join(head) + body


def exchange(rig: Rig, reply: bytes, ask: bytes = ASK) -> tuple[list[bytes], bytes]:
    """The lines of the head that the client gets, and the raw body."""
    client = rig.client()
    client.send(ask)
    backend = rig.backend
    backend.take()
    backend.send(reply)
    got = client.read()
    for _ in range(200):
        rig.run()
        got = client.read()
    head, _, body = got.partition(b"\r\n\r\n")
    return head.split(b"\r\n"), body


def dechunk(body: bytes) -> bytes:
    """The data of a whole chunked body."""
    data = b""
    while True:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            assert body == b"\r\n"
            return data
        data, body = data + body[:length], body[length + 2 :]


def test_a_text_is_compressed_and_said_so(rig: Rig) -> None:
    head, body = exchange(rig, answer(b'ETag: "x"', b"Accept-Ranges: bytes", b"Set-Cookie: a=b"))
    assert head == [
        b"HTTP/1.1 200 OK",
        b"Content-Type: text/html; charset=utf-8",
        b'ETag: W/"x"',
        b"Set-Cookie: a=b",
        b"Vary: Accept-Encoding",
        b"Content-Encoding: gzip",
        b"Transfer-Encoding: chunked",
        b"Via: 1.1 paas-router",
    ]
    squeezed = dechunk(body)
    assert gzip.decompress(squeezed) == TEXT and len(squeezed) < len(TEXT) // 4
    entry = rig.log()[0]
    assert entry.status == 200 and entry.body_bytes == len(squeezed)


def test_the_connections_live_on(rig: Rig) -> None:
    for _ in range(3):
        client = rig.client()
        client.send(ASK + ASK)
        for _ in range(2):
            rig.backend.take()
            rig.backend.send(answer())
            for _ in range(20):
                rig.run()
        assert client.read().count(b"Content-Encoding: gzip") == 2
    assert len(rig.dialled) == 1


def test_a_client_that_does_not_accept_it_gets_the_bytes_as_they_are(rig: Rig) -> None:
    head, body = exchange(rig, answer(b'ETag: "x"'), PLAIN)
    assert body == TEXT
    assert b"Vary: Accept-Encoding" in head and b'ETag: "x"' in head, (
        "a cache must know that there is another form"
    )
    assert not any(line.startswith(b"Content-Encoding") for line in head)


@pytest.mark.parametrize(
    "reply",
    [
        answer(kind=b"image/png"),
        answer(kind=b"text/event-stream"),
        answer(kind=b"application/octet-stream"),
        answer(b"Content-Encoding: br"),
        answer(b"Cache-Control: public, no-transform"),
        answer(b"Content-Range: bytes 0-9/10", status=b"206 Partial Content"),
        answer(status=b"206 Partial Content"),
        answer(b"Content-Digest: sha-256=:AAAA:"),
        answer().replace(b"Content-Type: text/html; charset=utf-8\r\n", b""),
    ],
)
def test_what_does_not_gain_or_must_not_be_changed_passes_as_it_is(rig: Rig, reply: bytes) -> None:
    head, body = exchange(rig, reply)
    assert body == TEXT
    assert head == [*reply.partition(b"\r\n\r\n")[0].split(b"\r\n"), b"Via: 1.1 paas-router"]


def test_small_answers_and_those_without_a_body_pass(rig: Rig) -> None:
    head, body = exchange(rig, answer(body=b"x" * 1023))
    assert body == b"x" * 1023 and b"Vary: Accept-Encoding" in head
    head, body = exchange(rig, answer(body=b"x" * 1024))
    assert gzip.decompress(dechunk(body)) == b"x" * 1024
    head, body = exchange(rig, answer().partition(b"\r\n\r\n")[0] + b"\r\n\r\n", ASK.replace(b"GET", b"HEAD"))
    assert body == b"" and b"Content-Length: %d" % len(TEXT) in head and b"Vary: Accept-Encoding" in head
    head, body = exchange(rig, b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n')
    assert body == b"" and b'ETag: W/"x"' in head and b"Vary: Accept-Encoding" in head
    head, body = exchange(rig, b"HTTP/1.1 204 No Content\r\nContent-Type: text/html\r\n\r\n")
    assert body == b"" and not any(line.startswith(b"Vary") for line in head)


@pytest.mark.parametrize(
    ("vary", "wanted"),
    [
        ([b"Vary: Cookie"], b"Vary: Cookie, Accept-Encoding"),
        ([b"Vary: Cookie", b"vary: Origin"], b"Vary: Cookie, Origin, Accept-Encoding"),
        ([b"Vary: *"], b"Vary: *"),
        ([b"Vary: accept-encoding , Cookie"], b"Vary: accept-encoding , Cookie"),
    ],
)
def test_vary_is_merged(rig: Rig, vary: list[bytes], wanted: bytes) -> None:
    head, _ = exchange(rig, answer(*vary))
    assert [line for line in head if line.lower().startswith(b"vary:")] == [wanted]


def test_a_weak_etag_stays_and_the_case_of_names_does_not_matter(rig: Rig) -> None:
    head, body = exchange(rig, answer(b'etag:W/"x"').replace(b"Content-Type", b"cONTENT-tYPE"))
    assert b'etag:W/"x"' in head and gzip.decompress(dechunk(body)) == TEXT


def test_chunked_answers_with_trailers(rig: Rig) -> None:
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"".join(
        b"%x\r\n%b\r\n" % (len(TEXT[at : at + 999]), TEXT[at : at + 999]) for at in range(0, len(TEXT), 999)
    )
    head, got = exchange(rig, reply + body + b"0\r\nX-Sum: 5\r\n\r\n")
    data, _, end = got.rpartition(b"0\r\nX-Sum: 5\r\n\r\n")
    assert end == b"" and gzip.decompress(dechunk(data + b"0\r\n\r\n")) == TEXT
    assert head.count(b"Transfer-Encoding: chunked") == 1


@pytest.mark.parametrize("ask", [ASK, ASK.replace(b"HTTP/1.1", b"HTTP/1.0")])
def test_an_answer_that_ends_with_the_connection(rig: Rig, ask: bytes) -> None:
    client = rig.client()
    client.send(ask)
    rig.backend.take()
    rig.backend.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + TEXT[:5000])
    rig.backend.send(TEXT[5000:])
    rig.backend.close()
    head, _, body = client.read().partition(b"\r\n\r\n")
    assert gzip.decompress(dechunk(body) if b"HTTP/1.1" in ask else body) == TEXT
    assert (b"chunked" in head) == (b"HTTP/1.1" in ask) and b"Content-Length" not in head


def test_a_client_of_http_1_0_gets_it_without_chunks_and_a_close(rig: Rig) -> None:
    ask = ASK.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n")
    head, body = exchange(rig, answer(), ask)
    assert gzip.decompress(body) == TEXT and b"Connection: close" in head


def test_a_slow_answer_is_not_held_back(rig: Rig) -> None:
    client = rig.client()
    client.send(ASK)
    rig.backend.take()
    rig.backend.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert b"gzip" in client.take()
    inflate = zlib.decompressobj(31)
    for part in (b"one\n", b"two\n", b"three\n"):
        rig.backend.send(b"%x\r\n%b\r\n" % (len(part), part))
        size, _, rest = client.take().partition(b"\r\n")
        assert inflate.decompress(rest[: int(size, 16)]) == part


def test_an_answer_cut_short_does_not_look_complete(rig: Rig) -> None:
    client = rig.client()
    client.send(ASK)
    rig.backend.take()
    rig.backend.send(answer()[:-10])
    rig.backend.close()
    assert client.closed or client.read()
    assert client.closed and not client.got.endswith(b"0\r\n\r\n")
    assert rig.log()[0].own_answer.code == "H18"


def test_bad_chunks_and_bytes_too_many(rig: Rig) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    lines, _ = exchange(rig, head + b"+5\r\nhello\r\n")
    assert lines[0].startswith(b"HTTP/1.1 502 ")
    lines, body = exchange(rig, answer() + b"more")
    assert gzip.decompress(dechunk(body)) == TEXT
    assert rig.backend.read() == b"" and rig.backend.closed, "it is not used again"


def feed(backend: End, data: bytes) -> bytes:
    """Send what the socket takes; the rest."""
    sent = 0
    while sent < len(data):
        try:
            sent += backend.sock.send(data[sent : sent + 65536])
        except BlockingIOError:
            break
    return data[sent:]


def test_a_slow_reader_stops_the_backend(rig: Rig) -> None:
    noise = b"".join(b"%x" % (number * 2654435761 % 2**32) for number in range(400_000))
    client = rig.client()
    client.send(ASK)
    backend = rig.backend
    backend.take()
    rest = answer(body=noise)
    while True:
        before, rest = rest, feed(backend, rest)
        rig.run()
        if before == rest:
            break
    assert len(rest) > 1_000_000 and all(len(c.out or b"") < 300_000 for c in rig.shared.clients)
    while rest:
        client.read()
        rest = feed(backend, rest)
        rig.run()
    for _ in range(100):
        client.read()
        rig.run()
    assert gzip.decompress(dechunk(client.got.partition(b"\r\n\r\n")[2])) == noise


def test_many_at_once_take_turns_and_all_come_to_their_end(rig: Rig) -> None:
    pairs: list[tuple[End, End]] = []
    for _ in range(20):
        client = rig.client()
        client.send(ASK)
        pairs.append((client, rig.backend))
    whole = answer()
    last = whole[20_000:]
    for part in (whole[:500], whole[500:20_000], last):
        for _, backend in pairs:
            assert feed(backend, part) == b""
        rig.shared.loop.step(0)
        if part is not last:
            assert len(rig.upstreams._turns._paused) == 20 - 2 * PIECES_A_TURN
        for _ in range(50):
            rig.run()
    for client, _ in pairs:
        assert gzip.decompress(dechunk(client.read().partition(b"\r\n\r\n")[2])) == TEXT


def test_their_number_is_bounded_and_comes_down_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Squeeze.now_active == 0
    exchange(rig, answer())
    client = rig.client()
    client.send(ASK)
    rig.backend.take()
    rig.backend.send(answer()[:-10])
    assert Squeeze.now_active == 1
    client.crash()
    assert Squeeze.now_active == 0
    monkeypatch.setattr(Squeeze, "now_active", MOST)
    head, body = exchange(rig, answer())
    assert body == TEXT and b"Vary: Accept-Encoding" in head


def test_without_the_flag_nothing_changes() -> None:
    rig = Rig(("i1",))
    head, body = exchange(rig, answer())
    rig.close()
    assert body == TEXT and not any(line.startswith(b"Vary") for line in head)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (b"gzip", True), (b"GZIP;Q=0.5", True), (b"x-gzip", True), (b"br, *;q=0.1", True), (b"*", True),
        (b"gzip;q=0", False), (b"gzip;q=0.000, *", False), (b"identity", False), (b"", False), (b"gzipped", False),
        (b"*;q=0", False), (b"br;q=1.0, gzip ; q=0.001", True), (b"gzip;q=2", False), (b"gzip;q=-1", False), (b"deflate", False),
    ],
)  # fmt: skip
def test_who_accepts_gzip(value: bytes, wanted: bool) -> None:
    assert accepts_gzip(b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: " + value + b"\r\n\r\n") is wanted
    assert accepts_gzip(b"GET / HTTP/1.1\r\naccept-encoding:" + value + b"\r\nHost: a\r\n\r\n") is wanted


def test_a_long_list_is_read_in_a_time_as_its_length() -> None:
    """Blanks that may belong to two places of a pattern are tried in all of them, for every one of them."""

    def cost(blanks: int) -> float:
        times = []
        for number in range(7):
            head = b"\r\naccept-encoding: gzip" + b" " * blanks + b"x%d\r\n" % number
            began = time.perf_counter()
            assert not accepts_gzip(head)
            times.append(time.perf_counter() - began)
        return min(times)

    assert cost(8000) < 25 * cost(1000)


def test_a_request_may_forbid_it() -> None:
    assert not accepts_gzip(
        b"GET / HTTP/1.1\r\nAccept-Encoding: gzip\r\nCache-Control: max-age=0, No-Transform\r\n\r\n"
    )


def test_identity_is_no_encoding(rig: Rig) -> None:
    head, body = exchange(rig, answer(b"Content-Encoding: identity"))
    assert [line for line in head if line.startswith(b"Content-Enc")] == [b"Content-Encoding: gzip"]
    assert gzip.decompress(dechunk(body)) == TEXT


def test_several_lines_are_one_list() -> None:
    assert not accepts_gzip(b"GET / HTTP/1.1\r\nAccept-Encoding: gzip;q=0\r\nAccept-Encoding: *\r\n\r\n")
    assert not accepts_gzip(b"GET /?accept-encoding:gzip HTTP/1.1\r\nHost: a\r\n\r\n")


@given(
    parts=st.lists(st.binary(min_size=1, max_size=3000), min_size=1, max_size=8),
    places=st.lists(st.integers(0, 30_000), max_size=10),
    framing=st.sampled_from(["length", "chunked", "close"]),
    pauses=st.booleans(),
)
def test_any_body_in_any_split_comes_out_whole(
    parts: list[bytes], places: list[int], framing: str, pauses: bool
) -> None:
    whole = b"".join(parts)
    sent = whole
    length = {"length": len(whole), "chunked": CHUNKED, "close": UNTIL_CLOSE}[framing]
    if framing == "chunked":
        sent = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    squeeze = Squeeze(b"GET", wanted=True)
    squeeze.begin(b"Content-Type: text/css\r\n", 200, length)
    if not squeeze.active:
        assert framing == "length" and len(whole) < 1024
        return
    edges = [0, *sorted(place for place in places if place < len(sent)), len(sent)]
    body, got = Body(length), b""
    for a, b in pairwise(edges):
        if a < b:
            data = body.take(sent[a:b])
            got += squeeze.take(data, done=body.done, pause=pauses)
    if framing == "close":
        assert not body.done
        got += squeeze.take(b"", done=True, pause=False)
    else:
        assert body.done and not body.leftover
    assert len(got) == squeeze.sent and gzip.decompress(got) == whole

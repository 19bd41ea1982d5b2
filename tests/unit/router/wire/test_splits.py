"""However a byte stream is cut into reads, the outcome is the same."""

from __future__ import annotations

import contextlib
import itertools
import re

import pytest
from harness.corpus import INVALID, VALID, converse, unescape
from harness.router import Rig, settle
from hypothesis import given, settings
from hypothesis import strategies as st

from router.wire.chunked import BadChunk, ChunkReader

SMALL = [path for path in VALID if len(unescape(path.read_bytes())) < 1500]
SMALL_INVALID = [path for path in INVALID if len(unescape(path.read_bytes())) < 1500]
FEW = settings(max_examples=60)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges) if b > a]


def outcome(pieces: list[bytes]) -> tuple[list[bytes], bytes]:
    """What backends and client got, without how chunks were cut (that follows the reads)."""
    rig = Rig()
    try:
        heard, answers = converse(rig, pieces)
    finally:
        rig.close()
    return [join_chunks(settle(request)) for request in heard], re.sub(rb"X-Request-Id: \S+", b"", answers)


def join_chunks(request: bytes) -> bytes:
    head, blank, body = request.partition(b"\r\n\r\n")
    if b"\r\nTransfer-Encoding: chunked\r\n" not in head + b"\r\n":
        return request
    reader = ChunkReader()
    return head + blank + reader.feed(body) + b"|" + reader.trailers


@FEW
@given(st.sampled_from(SMALL), st.lists(st.integers(0, 2000), max_size=12))
def test_a_valid_stream_means_the_same_in_any_split(path, places) -> None:  # type: ignore[no-untyped-def]
    data = unescape(path.read_bytes())
    assert outcome(cut(data, places)) == outcome([data])


@pytest.mark.parametrize("path", SMALL, ids=lambda path: path.stem)
def test_a_valid_stream_means_the_same_byte_by_byte(path) -> None:  # type: ignore[no-untyped-def]
    data = unescape(path.read_bytes())
    assert outcome([data[at : at + 1] for at in range(len(data))]) == outcome([data])


@pytest.mark.parametrize("path", SMALL_INVALID, ids=lambda path: path.stem)
def test_an_invalid_stream_is_refused_byte_by_byte(path) -> None:  # type: ignore[no-untyped-def]
    data = unescape(path.read_bytes())
    rig = Rig()
    client = rig.client()
    for at in range(len(data)):
        if client.read():
            break
        client.send(data[at : at + 1])
    got = client.read()
    rig.close()
    assert got.startswith(b"HTTP/1.1 " + path.with_suffix(".expect").read_bytes().split()[0])
    assert client.closed


ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nX-A: b\r\n\r\nHTTP/1.1 200",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\n0\r\n\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nConnection: X-B\r\nX-B: 1\r\nX-A: b\r\n\r\nuntil the end",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nbroken off",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more than that",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
]


def answered(pieces: list[bytes], version: bytes) -> tuple[bytes, object, int]:
    """What a client gets of an answer in these pieces, after which the backend closes; the log; connections left."""
    rig = Rig()
    client = rig.client()
    client.send(b"POST / HTTP/%b\r\nHost: app.test\r\nContent-Length: 0\r\n\r\n" % version)
    for piece in pieces:
        if not rig.backend.closed:
            with contextlib.suppress(BrokenPipeError):
                rig.backend.send(piece)
    rig.backend.close()
    got = re.sub(rb"[0-9a-f-]{36}", b"ID", client.read())
    [entry] = rig.log()
    left = sum(len(backend.idle) for backend in rig.shared.backends.values())
    rig.close()
    chunked = b"\r\nTransfer-Encoding: chunked\r\n" in got
    return join_chunks(got) if chunked else got, (entry.status, entry.own_answer, client.closed), left


@FEW
@given(
    st.sampled_from(ANSWERS), st.lists(st.integers(0, 2000), max_size=12), st.sampled_from([b"1.0", b"1.1"])
)
def test_an_answer_means_the_same_in_any_split(answer: bytes, places: list[int], version: bytes) -> None:
    assert answered(cut(answer, places), version) == answered([answer], version)


@settings(max_examples=200)
@given(
    st.lists(st.binary(min_size=1, max_size=300), max_size=5),
    st.lists(st.integers(0, 2000), max_size=10),
    st.binary(max_size=40),
)
def test_chunks_in_any_split(bodies: list[bytes], places: list[int], rest: bytes) -> None:
    data = (
        b"".join(b"%X;x=1\r\n%b\r\n" % (len(body), body) for body in bodies) + b"0\r\nX-T: 1\r\n\r\n" + rest
    )
    reader, got, after = ChunkReader(), b"", b""
    for piece in cut(data, places):
        if reader.done:
            after += piece
        else:
            got += reader.feed(piece)
            after += reader.leftover
    assert reader.done and (got, after, reader.trailers) == (b"".join(bodies), rest, b"X-T: 1\r\n")


@settings(max_examples=300)
@given(
    st.lists(
        st.sampled_from([b"5", b"0", b"\r", b"\n", b"\r\n", b"hello", b";", b" ", b"a", b"X: y", b"-"]),
        max_size=14,
    )
)
def test_the_chunk_reader_decides_alike_in_any_split(parts: list[bytes]) -> None:
    def read(pieces: list[bytes]) -> tuple[str, bytes]:
        reader, got = ChunkReader(), b""
        for piece in pieces:
            if reader.done:
                break
            try:
                got += reader.feed(piece)
            except BadChunk:
                return "bad", b""
        return ("done" if reader.done else "more"), got

    data = b"".join(parts)
    whole = read([data]) if data else ("more", b"")
    assert read([data[at : at + 1] for at in range(len(data))]) == whole

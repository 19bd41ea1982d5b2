"""Bodies as they come over a connection, in any split."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.wire.body import Body
from router.wire.chunked import BadChunk, encode, encode_end
from router.wire.response import CHUNKED, UNTIL_CLOSE

NEXT = b"HTTP/1.1 "


@given(st.binary(max_size=200), st.lists(st.integers(0, 300), max_size=6), st.sampled_from([CHUNKED, 0]))
def test_the_data_comes_out_and_what_follows_is_left_over(
    data: bytes, places: list[int], coding: int
) -> None:
    chunked = coding == CHUNKED
    sent = (encode(data) + encode_end(b"X-Sum: 1\r\n") if chunked else data) + NEXT
    body = Body(CHUNKED if chunked else len(data))
    assert body.done is (not chunked and not data)
    edges = [0, *sorted(place for place in places if place < len(sent)), len(sent)]
    got, leftover = b"", b""
    for start, end in pairwise(edges):
        if body.done:
            leftover += sent[start:end]
            continue
        got += body.take(sent[start:end])
        leftover = body.leftover
    assert body.done and got == data
    assert leftover == NEXT
    assert body.trailers == (b"X-Sum: 1\r\n" if chunked else b"")


def test_what_was_relayed_unseen_counts() -> None:
    body = Body(10)
    body.skip(7)
    assert (body.left, body.done) == (3, False)
    assert body.take(b"abcdef") == b"abc" and body.done and body.leftover == b"def"


def test_a_body_until_the_end_of_the_connection_never_knows_that_it_is_over() -> None:
    body = Body(UNTIL_CLOSE)
    assert body.take(b"all of it") == b"all of it"
    assert body.until_close and not body.done and body.left == 0


def test_bad_chunks_are_refused() -> None:
    with pytest.raises(BadChunk):
        Body(CHUNKED).take(b"+5\r\nhello\r\n")

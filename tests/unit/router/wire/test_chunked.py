"""A body in one chunk is read at a glance, and only then."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.wire.chunked import BadChunk, ChunkReader, encode, encode_end, single


@pytest.mark.parametrize("body", [b"x", b"hello", b"\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", bytes(70000)])
def test_one_chunk_and_the_end_are_the_body(body: bytes) -> None:
    assert single(encode_end(data=body)) == body
    assert single(encode(body) + encode_end()) == body


@pytest.mark.parametrize(
    "data",
    [
        b"", b"0\r\n\r\n", b"5\r\nhello\r\n", b"5\r\nhello\r\n0\r\n", b"5\r\nhell\r\n0\r\n\r\n", b"4\r\nhello\r\n0\r\n\r\n",
        b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\nA: b\r\n\r\n", b"5;x\r\nhello\r\n0\r\n\r\n", b"+5\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n",
    ],
)  # fmt: skip
def test_anything_else_is_left_to_the_reader(data: bytes) -> None:
    assert single(data) is None


@given(
    st.lists(
        st.sampled_from([b"5\r\n", b"hello", b"\r\n", b"0\r\n", b"a", b"\r\n0\r\n\r\n", b"1\r\n"]), max_size=8
    )
)
def test_it_never_takes_what_the_reader_reads_otherwise(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    found = single(data)
    if found is not None:
        reader = ChunkReader()
        try:
            assert reader.feed(data) == found
        except BadChunk:
            pytest.fail(f"{data!r} is no body")
        assert reader.done and not reader.leftover and not reader.trailers


def test_a_head_goes_out_with_the_first_chunk() -> None:
    assert encode(b"ab", b"HEAD") == b"HEAD2\r\nab\r\n"
    assert encode(b"", b"HEAD") == b"HEAD"
    assert encode_end(b"T: 1\r\n", b"ab", b"HEAD") == b"HEAD2\r\nab\r\n0\r\nT: 1\r\n\r\n"

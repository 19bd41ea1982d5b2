"""Header blocks: the examples of RFC 7541, and any fields against the coder of the library `hpack`."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.wire.h2fields import AnswerField, response_fields
from router.wire.hpack import LARGEST_INDEXED, TABLE_BYTES, BadBlock, Decoder, Encoder, LargeBlock

Pairs = list[tuple[bytes, bytes]]
LIMIT = 48 * 1024
REQUESTS = [  # RFC 7541 C.3 and C.4: without and with Huffman code
    ("828684410f7777772e6578616d706c652e636f6d", "828684418cf1e3c2e5f23a6ba0ab90f4ff"),
    ("828684be58086e6f2d6361636865", "828684be5886a8eb10649cbf"),
    (
        "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
    ),
]
MEANT: list[Pairs] = [
    [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")],
    [
        *[(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")],
        (b"cache-control", b"no-cache"),
    ],
    [
        *[(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/index.html")],
        *[(b":authority", b"www.example.com"), (b"custom-key", b"custom-value")],
    ],
]


def pairs(decoder: Decoder, block: bytes) -> Pairs:
    return [(field.name, field.value) for field in decoder.decode(block)]


@pytest.mark.parametrize("column", [0, 1], ids=["plain", "Huffman"])
def test_the_examples_of_the_rfc_are_read(column: int) -> None:
    decoder = Decoder(LIMIT)
    for blocks, meant in zip(REQUESTS, MEANT, strict=True):
        assert pairs(decoder, bytes.fromhex(blocks[column])) == meant


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",
        b"\xbe",
        b"\xff",
        b"\xff" + b"\x80" * 5 + b"\x01",
        b"\x40",
        b"\x40\x01",
        b"\x40\x01a",
        b"\x40\x01a\x02b",
        b"\x7f\xff\xff\xff\xff\xff\x0f",
        b"\x82\x20",
        b"\x3f\xe2\x1f",
        b"\x00\x01a\x82\xff\xff",
        b"\x00\x01a\x84\xff\xff\xff\xff",
    ],
)
def test_what_is_no_block_is_refused(block: bytes) -> None:
    with pytest.raises(BadBlock):
        Decoder(LIMIT).decode(block)


def test_fields_are_limited_by_what_they_unpack_to() -> None:
    decoder = Decoder(LIMIT)
    decoder.decode(b"\x40\x01a\x7f\xa1\x1e" + b"b" * 4000)
    with pytest.raises(LargeBlock):
        decoder.decode(b"\xbe" * 13)


def test_a_table_evicts_the_oldest_and_can_be_made_smaller() -> None:
    decoder = Decoder(LIMIT)
    for name in (b"a", b"b", b"c"):
        decoder.decode(b"\x40\x01%b\x7f\xd9\x0d" % name + b"v" * 1880)
    assert [name for name, _ in pairs(decoder, b"\xbe\xbf")] == [b"c", b"b"]
    with pytest.raises(BadBlock):
        decoder.decode(b"\xc0")
    assert pairs(decoder, b"\x3f\xe1\x0f\xbe")[0][0] == b"c"  # 2048 bytes: room for one
    with pytest.raises(BadBlock):
        decoder.decode(b"\xbf")
    assert pairs(decoder, b"\x20\x3f\xe1\x1f") == []
    with pytest.raises(BadBlock):
        decoder.decode(b"\xbe")


NAMES = st.sampled_from([b":path", b"accept", b"cookie", b"x-a", b"x-b", b"date", b"vary"])
FIELDS = st.lists(st.tuples(NAMES, st.binary(max_size=300)), max_size=12)


@given(st.lists(st.tuples(FIELDS, st.booleans()), max_size=8))
def test_blocks_of_the_library_are_read(blocks: list[tuple[Pairs, bool]]) -> None:
    decoder, encoder = Decoder(LIMIT), hpack.Encoder()
    for number, (fields, huffman) in enumerate(blocks):
        if number == 3:
            encoder.header_table_size = 200
        assert pairs(decoder, encoder.encode(fields, huffman=huffman)) == fields


@given(st.binary(max_size=60))
def test_any_bytes_are_read_as_the_library_reads_them(block: bytes) -> None:
    try:
        meant = hpack.Decoder().decode(block, raw=True)
    except hpack.HPACKError:
        with pytest.raises(BadBlock):
            Decoder(LIMIT).decode(block)
    else:
        assert pairs(Decoder(LIMIT), block) == [tuple(field) for field in meant]


TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60).map(str.encode)
LINES = st.lists(
    st.tuples(st.sampled_from([b"Date", b"X-A", b"Content-Type", b"Set-Cookie", b"Etag"]), TEXT), max_size=9
)


@given(st.lists(st.tuples(st.sampled_from([200, 404, 301, 103]), LINES, st.integers(0, 6000)), max_size=9))
def test_the_library_reads_our_blocks(answers: list[tuple[int, Pairs, int]]) -> None:
    encoder, decoder = Encoder(), hpack.Decoder()
    for number, (status, lines, table) in enumerate(answers):
        if number % 3 == 2:
            encoder.resize(table)
            encoder.resize(table // 2)
        text = b"".join(b"%b: %b\r\n" % line for line in lines)
        block = encoder.encode(status, response_fields(text))
        meant = [(b":status", b"%d" % status), *((name.lower(), value) for name, value in lines)]
        assert [tuple(field) for field in decoder.decode(block, raw=True)] == meant
        assert encoder.size == decoder.header_table._current_size <= TABLE_BYTES


def fields(*lines: bytes) -> list[AnswerField]:
    return response_fields(b"\r\n".join(lines))


def test_a_line_that_is_sent_again_becomes_one_byte() -> None:
    encoder, lines = (
        Encoder(),
        fields(b"X-Often: of the test of repetition", b"Content-Type: text/x-repeated"),
    )
    sizes = [len(encoder.encode(200, lines)) for _ in range(4)]
    assert sizes[0] > sizes[1] > sizes[2] == sizes[3] == 3
    assert len(Encoder().encode(200, lines)) == sizes[1]


def test_secrets_and_large_fields_enter_no_table() -> None:
    encoder = Encoder()
    lines = fields(b"Set-Cookie: session=1", b"X-Large: " + b"a" * LARGEST_INDEXED)
    for _ in range(3):
        block = encoder.encode(200, lines)
    assert encoder.size == 0
    assert b"\x1f\x28\x09session=1" in block  # a literal that is never indexed, RFC 7541 6.2.3

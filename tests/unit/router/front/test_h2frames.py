"""Bytes to what they mean to a connection of HTTP/2: any split, header blocks in one piece."""

from __future__ import annotations

from itertools import pairwise

import pytest
from harness.http2 import BASIC, CONTINUATION, DATA, HEAD, HEADERS, PING, PREFACE, codes, frame, literal
from hypothesis import given
from hypothesis import strategies as st

from router.front.h2frames import BODY, REQUEST, WINDOW, ClientFrames
from router.wire.h2wire import (
    END_HEADERS,
    ENHANCE_YOUR_CALM,
    FRAME_BYTES,
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
)

POST = literal([(b":method", b"POST"), *BASIC[1:]])
STREAM = b"".join(
    [
        PREFACE,
        frame(HEADERS, 0x2D, 3, b"\1\0\0\0\5\x10" + HEAD + b"\0"),
        frame(HEADERS, 0, 5, POST[:9]),
        frame(CONTINUATION, 0, 5, POST[9:20]),
        frame(CONTINUATION, END_HEADERS, 5, POST[20:]),
        frame(DATA, 8, 5, b"\1body\0"),
        frame(PING, 0, 0, b"12345678"),
    ]
)


def meaning(frames: ClientFrames, data: bytes) -> list[tuple[int, int, bool, bytes, int, list[bytes]]]:
    events = frames.read(data, 0.0)
    assert events is not None
    return [(e.kind, e.id, e.ended, e.data, e.size, [field.value for field in e.fields]) for e in events]


@given(st.lists(st.integers(0, len(STREAM)), max_size=9))
def test_any_split_means_the_same(cuts: list[int]) -> None:
    frames, events = ClientFrames(0.0), []
    for start, end in pairwise([0, *sorted(cuts), len(STREAM)]):
        events += meaning(frames, STREAM[start:end])
    values = [value for _, value in BASIC]
    assert (
        events
        == [
            (WINDOW, 0, False, b"", 0, []),  # the client has said how much it takes
            (REQUEST, 3, True, b"", 0, values),
            (REQUEST, 5, False, b"", 0, [b"POST", *values[1:]]),
            (BODY, 5, False, b"body", 6, []),
        ]
    )
    assert frames.writer.data_to_send().endswith(frame(PING, 1, 0, b"12345678"))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"GET / HTTP/1.1\r\n", PROTOCOL_ERROR),
        (PREFACE[:24] + frame(PING, 0, 0, bytes(8)), PROTOCOL_ERROR),
        (PREFACE + frame(DATA, 0, 1, bytes(FRAME_BYTES + 1)), FRAME_SIZE_ERROR),
        (PREFACE + frame(CONTINUATION, 4, 1), PROTOCOL_ERROR),
        (PREFACE + frame(HEADERS, 0, 1) + frame(CONTINUATION, 4, 3), PROTOCOL_ERROR),
        (PREFACE + frame(HEADERS, 0, 1) + 64 * frame(CONTINUATION, 0, 1), PROTOCOL_ERROR),
        (
            PREFACE + frame(HEADERS, 0, 1) + 5 * frame(CONTINUATION, 0, 1, bytes(FRAME_BYTES)),
            ENHANCE_YOUR_CALM,
        ),
    ],
)
def test_what_is_no_sequence_of_frames_ends_the_connection(data: bytes, code: int) -> None:
    frames = ClientFrames(0.0)
    frames.writer.data_to_send()
    assert frames.read(data, 0.0) is None
    assert codes(frames.writer.data_to_send()) == (code, {})


def test_a_block_of_nothing_but_table_sizes_is_too_large() -> None:
    frames = ClientFrames(0.0)
    frames.writer.data_to_send()
    assert frames.read(PREFACE + frame(HEADERS, 5, 1, 2000 * b"\x20" + HEAD), 0.0) is None
    assert codes(frames.writer.data_to_send())[0] == ENHANCE_YOUR_CALM

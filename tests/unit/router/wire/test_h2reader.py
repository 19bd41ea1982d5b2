"""Bytes to frames: the same ones however the bytes are cut, header blocks in one piece, and an error where RFC 9113 has
one.

The reader is an abstract class, and a class of a test cannot inherit from a compiled one: its source is what runs here.
Compiled, it is tested through whole connections (`front/test_h2_errors.py`, `front/test_h2_limits.py`).
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from router.wire.h2wire import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FRAME_BYTES,
    FRAME_SIZE_ERROR,
    HAS_PRIORITY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PROTOCOL_ERROR,
    SETTINGS,
    ConnectionFailed,
    frame,
)

SOURCE = runpy.run_path(str(Path(__file__).resolve().parents[4] / "router/wire/h2reader.py"))
FrameReader: Any = SOURCE["FrameReader"]
MAX_BLOCK_BYTES, MAX_CONTINUATIONS = SOURCE["MAX_BLOCK_BYTES"], SOURCE["MAX_CONTINUATIONS"]
Frame = tuple[int, int, int, bytes]


class Reader(FrameReader):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.frames: list[Frame] = []

    def accept(self, kind: int, flags: int, id: int, payload: bytes) -> None:
        self.frames.append((kind, flags, id, payload))


GREETING = PREFACE + frame(SETTINGS, 0, 0)


def read(*parts: bytes) -> list[Frame]:
    reader = Reader()
    for part in parts:
        reader.feed(part)
    return reader.frames[1:]


def failure(*parts: bytes) -> int:
    with pytest.raises(ConnectionFailed) as failed:
        read(*parts)
    return failed.value.code


STREAM = b"".join(
    [
        GREETING,
        frame(HEADERS, END_HEADERS | END_STREAM, 1, b"block"),
        frame(DATA, 0, 3, b""),
        frame(HEADERS, END_STREAM, 5, b"a"),
        frame(CONTINUATION, 0, 5, b""),
        frame(CONTINUATION, END_HEADERS, 5, b"b"),
        frame(200, 7, 9, b"unknown"),
        frame(DATA, 0, 1, b"d" * FRAME_BYTES),
    ]
)
FRAMES = [
    (HEADERS, END_HEADERS | END_STREAM, 1, b"block"),
    (DATA, 0, 3, b""),
    (HEADERS, END_STREAM, 5, b"ab"),
    (200, 7, 9, b"unknown"),
    (DATA, 0, 1, b"d" * FRAME_BYTES),
]


@pytest.mark.parametrize("size", [1, 2, 9, 10, 100, 16393, len(STREAM)])
def test_frames_do_not_depend_on_how_the_bytes_come(size: int) -> None:
    assert read(*(STREAM[at : at + size] for at in range(0, len(STREAM), size))) == FRAMES


def test_padding_and_priority_are_no_part_of_a_header_block() -> None:
    payload = bytes([3]) + b"\0\0\0\0\xff" + b"block" + b"\0" * 3
    ((kind, flags, id, block),) = read(
        GREETING, frame(HEADERS, PADDED | HAS_PRIORITY | END_HEADERS, 1, payload)
    )
    assert (kind, id, block) == (HEADERS, 1, b"block") and flags & END_HEADERS


def test_how_many_parts_a_header_block_came_in_is_known() -> None:
    reader = Reader()
    reader.feed(GREETING + frame(HEADERS, 0, 1, b"a") + frame(CONTINUATION, 0, 1) + frame(CONTINUATION, 4, 1))
    assert reader.continuations == 2
    reader.feed(frame(HEADERS, END_HEADERS, 3, b"a"))
    assert reader.continuations == 0


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", PROTOCOL_ERROR),
        (PREFACE[:-1] + b"X", PROTOCOL_ERROR),
        (PREFACE + frame(PING, 0, 0, b"12345678"), PROTOCOL_ERROR),
        (PREFACE + frame(SETTINGS, ACK, 0), PROTOCOL_ERROR),
        (GREETING + frame(DATA, 0, 1, b"x" * (FRAME_BYTES + 1))[:9], FRAME_SIZE_ERROR),
        (GREETING + frame(CONTINUATION, END_HEADERS, 1), PROTOCOL_ERROR),
        (GREETING + frame(HEADERS, 0, 1) + frame(DATA, 0, 1), PROTOCOL_ERROR),
        (GREETING + frame(HEADERS, 0, 1) + frame(HEADERS, END_HEADERS, 1), PROTOCOL_ERROR),
        (GREETING + frame(HEADERS, 0, 1) + frame(CONTINUATION, END_HEADERS, 3), PROTOCOL_ERROR),
        (GREETING + frame(HEADERS, END_HEADERS, 1) + frame(CONTINUATION, 0, 1), PROTOCOL_ERROR),
        (GREETING + frame(HEADERS, 0, 1) + frame(CONTINUATION, 0, 1) * MAX_CONTINUATIONS, PROTOCOL_ERROR),
    ],
    ids=[
        "other protocol", "preface", "no settings", "acknowledgement first", "size", "nothing to continue", "between",
        "twice", "other stream", "ended", "many parts",
    ],
)  # fmt: skip
def test_what_breaks_the_protocol_ends_the_connection(data: bytes, code: int) -> None:
    assert failure(data) == code


def test_a_preface_in_pieces_is_refused_at_its_first_wrong_byte() -> None:
    reader = Reader()
    for byte in b"PRI":
        reader.feed(bytes([byte]))
    with pytest.raises(ConnectionFailed):
        reader.feed(b"X")


def test_the_parts_of_a_header_block_may_not_grow_without_end() -> None:
    part = b"x" * FRAME_BYTES
    full = GREETING + frame(HEADERS, 0, 1, part) + frame(CONTINUATION, 0, 1, part) * 3
    assert 4 * FRAME_BYTES == MAX_BLOCK_BYTES
    assert read(full, frame(CONTINUATION, END_HEADERS, 1)) == [(HEADERS, 0, 1, part * 4)]
    assert failure(full, frame(CONTINUATION, END_HEADERS, 1, b"x")) == ENHANCE_YOUR_CALM

"""Frames that are sent to a client of HTTP/2: heads and data, windows given back, resets, the end."""

from __future__ import annotations

from harness.http2 import CONTINUATION, DATA, HEADERS, codes, frame

from router.front.h2budget import Budget
from router.front.h2writer import CONNECTION_WINDOW, REMEMBERED_RESETS, Flow, FrameWriter
from router.wire.h2fields import response_fields
from router.wire.h2wire import (
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES,
    INITIAL_WINDOW,
    REFUSED_STREAM,
    WINDOW_UPDATE,
    number,
)


def with_streams(*ids: int) -> FrameWriter:
    """A writer that has sent its settings; these streams are open, their requests are not complete."""
    writer = FrameWriter(Budget(0.0))
    writer.data_to_send()
    for id in ids:
        writer.streams[id] = Flow(100, False)
    return writer


def test_a_large_head_of_an_answer_goes_out_in_several_frames() -> None:
    writer = with_streams(1)
    writer.streams[1].request_ended = True
    lines = b"".join(b"X-%d: %b\r\n" % (number, b"a" * 1000) for number in range(40))
    writer.send_headers(1, 200, response_fields(lines), True)
    data, kinds = writer.data_to_send(), []
    while data:
        size = int.from_bytes(data[:3], "big")
        kinds.append((data[3], data[4], size <= FRAME_BYTES))
        data = data[9 + size :]
    assert kinds == [
        (HEADERS, END_STREAM, True),
        (CONTINUATION, 0, True),
        (CONTINUATION, END_HEADERS, True),
    ]
    assert not writer.streams


def test_data_uses_both_windows_and_an_ended_answer_ends_the_stream_with_its_request() -> None:
    writer = with_streams(1)
    assert writer.room(1) == 100
    writer.send_body(1, b"a" * 30, False, False)
    assert writer.room(1) == 70 and writer.send_window == INITIAL_WINDOW - 30
    writer.send_window = 20
    assert writer.room(1) == 20
    writer.send_body(1, b"", True, False)
    assert 1 in writer.streams, "the request goes on"
    writer.streams[1].request_ended = True
    writer.send_body(1, b"", True, False)
    assert not writer.streams
    end = frame(DATA, END_STREAM, 1)
    assert writer.data_to_send() == frame(DATA, 0, 1, b"a" * 30) + 2 * end and not writer.unsent_bytes


def test_windows_are_given_back_by_halves() -> None:
    writer = with_streams(1)
    writer.acknowledge(1, INITIAL_WINDOW // 2 - 1)
    assert writer.data_to_send() == b""
    writer.acknowledge(1, 1)
    assert writer.data_to_send() == frame(WINDOW_UPDATE, 0, 1, number(INITIAL_WINDOW // 2))
    rest = CONNECTION_WINDOW // 2 - INITIAL_WINDOW // 2
    writer.acknowledge(3, rest)
    assert writer.data_to_send() == frame(WINDOW_UPDATE, 0, 0, number(CONNECTION_WINDOW // 2))


def test_a_stream_is_reset_once_and_only_the_newest_resets_are_remembered() -> None:
    ids = range(1, 2 * REMEMBERED_RESETS + 3, 2)
    writer = with_streams(*ids)
    for id in ids:
        writer.reset(id, REFUSED_STREAM)
    assert codes(writer.data_to_send()) == (None, dict.fromkeys(ids, REFUSED_STREAM))
    assert len(writer.resets) == REMEMBERED_RESETS and 1 not in writer.resets and not writer.streams
    writer.reset(ids[-1], REFUSED_STREAM)
    assert writer.data_to_send() == b""

"""Frames that RFC 9113 and RFC 7541 forbid: which error they are, and whether it ends the stream or the connection."""

from __future__ import annotations

import pytest
from harness.http2 import (
    BASIC,
    CONTINUATION,
    DATA,
    GOAWAY,
    HEAD,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Visitor,
    codes,
    frame,
    literal,
    served,
)
from harness.router import Rig

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = range(4)
STREAM_CLOSED, FRAME_SIZE_ERROR, COMPRESSION_ERROR = 5, 6, 9
MOST = 0x7FFFFFFF


def number(value: int) -> bytes:
    return value.to_bytes(4, "big")


ASKED = frame(HEADERS, 5, 1, HEAD)
"""A request that is complete."""
OPEN = frame(HEADERS, 4, 1, literal([(b":method", b"POST"), *BASIC[1:]]))
"""A request whose body is to come."""
GONE = OPEN + frame(RST_STREAM, 0, 1, number(8))

HARMLESS = {
    "an unknown frame": frame(99, 255, 0, b"x"),
    "unknown flags": frame(PING, 0xFE, 0, bytes(8)),
    "the reserved bit": b"\0\0\x08\6\0\x80\0\0\0" + bytes(8),
    "an unknown setting": frame(SETTINGS, 0, 0, b"\0\xff\0\0\0\1"),
    "an answer to no PING": frame(PING, 1, 0, bytes(8)),
    "a priority of a stream to come": frame(PRIORITY, 0, 7, b"\0\0\0\0\1"),
    "a window of a stream that is over": GONE + frame(WINDOW_UPDATE, 0, 1, number(1)),
    "a second reset": GONE + frame(RST_STREAM, 0, 1, number(8)),
    "a window of a stream that was left out": frame(HEADERS, 5, 5, HEAD)
    + frame(WINDOW_UPDATE, 0, 3, number(1)),
    "an empty head line of padding": frame(HEADERS, 13, 1, b"\x05" + HEAD + bytes(5)),
}

STREAM_ERRORS = {
    "DATA after the end": (ASKED + frame(DATA, 1, 1, b"x"), STREAM_CLOSED),
    "HEADERS after the end": (ASKED + ASKED, STREAM_CLOSED),
    "DATA after a reset": (GONE + frame(DATA, 1, 1, b"x"), STREAM_CLOSED),
    "HEADERS after a reset": (GONE + ASKED, STREAM_CLOSED),
    "HEADERS after a reset and another stream": (GONE + frame(HEADERS, 5, 3, HEAD) + ASKED, STREAM_CLOSED),
    "dependence on itself": (frame(HEADERS, 0x25, 1, number(1) + b"\1" + HEAD), PROTOCOL_ERROR),
    "trailers that are not the end": (OPEN + frame(HEADERS, 4, 1, literal([(b"x", b"y")])), PROTOCOL_ERROR),
    "a window beyond its limit": (OPEN + frame(WINDOW_UPDATE, 0, 1, number(MOST)), FLOW_CONTROL_ERROR),
    "a window that grows by nothing": (OPEN + frame(WINDOW_UPDATE, 0, 1, number(0)), PROTOCOL_ERROR),
    "trailers and more": (
        OPEN + frame(HEADERS, 5, 1, literal([(b"x", b"y")])) + frame(DATA, 0, 1, b"x"),
        STREAM_CLOSED,
    ),
}

CONNECTION_ERRORS = {
    "an index that is zero": (frame(HEADERS, 5, 1, b"\x80"), COMPRESSION_ERROR),
    "an index beyond the tables": (frame(HEADERS, 5, 1, b"\xfe"), COMPRESSION_ERROR),
    "an integer without end": (frame(HEADERS, 5, 1, b"\xff" * 6), COMPRESSION_ERROR),
    "a Huffman code that is none": (frame(HEADERS, 5, 1, HEAD + b"\0\x01a\x82\xff\xff"), COMPRESSION_ERROR),
    "a table beyond its limit": (frame(HEADERS, 5, 1, b"\x3f\xe1\xff\x03" + HEAD), COMPRESSION_ERROR),
    "a table size behind fields": (frame(HEADERS, 5, 1, HEAD + b"\x20"), COMPRESSION_ERROR),
    "compression broken in trailers": (OPEN + frame(HEADERS, 5, 1, b"\xfe"), COMPRESSION_ERROR),
    "DATA on stream 0": (frame(DATA, 0, 0, b"x"), PROTOCOL_ERROR),
    "DATA on an even stream": (ASKED + frame(DATA, 0, 2, b"x"), PROTOCOL_ERROR),
    "DATA on a stream that was left out": (
        frame(HEADERS, 5, 5, HEAD) + frame(DATA, 0, 3, b"x"),
        PROTOCOL_ERROR,
    ),
    "DATA without the length of its padding": (OPEN + frame(DATA, 8, 1), FRAME_SIZE_ERROR),
    "HEADERS too short for a priority": (frame(HEADERS, 0x25, 1, b"\0\0\0"), FRAME_SIZE_ERROR),
    "an acknowledgement that sets something": (frame(SETTINGS, 1, 0, b"\0\4" + number(9)), FRAME_SIZE_ERROR),
    "RST_STREAM on an even stream": (ASKED + frame(RST_STREAM, 0, 2, number(8)), PROTOCOL_ERROR),
    "a window of an even stream": (ASKED + frame(WINDOW_UPDATE, 0, 2, number(8)), PROTOCOL_ERROR),
    "DATA on an idle stream": (frame(DATA, 1, 1, b"x"), PROTOCOL_ERROR),
    "DATA with too much padding": (OPEN + frame(DATA, 9, 1, b"\xffxx"), PROTOCOL_ERROR),
    "DATA that is too long": (OPEN + frame(DATA, 0, 1, bytes(16385)), FRAME_SIZE_ERROR),
    "HEADERS on stream 0": (frame(HEADERS, 5, 0, HEAD), PROTOCOL_ERROR),
    "HEADERS on an even stream": (frame(HEADERS, 5, 2, HEAD), PROTOCOL_ERROR),
    "HEADERS with too much padding": (frame(HEADERS, 13, 1, b"\xff" + HEAD), PROTOCOL_ERROR),
    "HEADERS that are too long": (frame(HEADERS, 5, 1, bytes(16385)), FRAME_SIZE_ERROR),
    "streams that go down": (frame(HEADERS, 5, 5, HEAD) + frame(HEADERS, 5, 3, HEAD), PROTOCOL_ERROR),
    "a frame within a head": (frame(HEADERS, 1, 1, HEAD) + frame(PING, 0, 0, bytes(8)), PROTOCOL_ERROR),
    "an unknown frame within a head": (frame(HEADERS, 1, 1, HEAD) + frame(99, 0, 0), PROTOCOL_ERROR),
    "a head continued elsewhere": (
        frame(HEADERS, 1, 1, HEAD) + frame(CONTINUATION, 4, 3, HEAD),
        PROTOCOL_ERROR,
    ),
    "a lone CONTINUATION": (frame(CONTINUATION, 4, 1, HEAD), PROTOCOL_ERROR),
    "a CONTINUATION after the end": (ASKED + frame(CONTINUATION, 4, 1, HEAD), PROTOCOL_ERROR),
    "PRIORITY on stream 0": (frame(PRIORITY, 0, 0, number(1) + b"\1"), PROTOCOL_ERROR),
    "PRIORITY of a wrong size": (frame(PRIORITY, 0, 1, number(1)), FRAME_SIZE_ERROR),
    "PRIORITY on itself": (frame(PRIORITY, 0, 1, number(1) + b"\1"), PROTOCOL_ERROR),
    "RST_STREAM on stream 0": (frame(RST_STREAM, 0, 0, number(8)), PROTOCOL_ERROR),
    "RST_STREAM on an idle stream": (frame(RST_STREAM, 0, 1, number(8)), PROTOCOL_ERROR),
    "RST_STREAM of a wrong size": (OPEN + frame(RST_STREAM, 0, 1, b"\0\0\0"), FRAME_SIZE_ERROR),
    "SETTINGS on a stream": (frame(SETTINGS, 0, 1), PROTOCOL_ERROR),
    "SETTINGS of a wrong size": (frame(SETTINGS, 0, 0, b"\0\1\0"), FRAME_SIZE_ERROR),
    "half a push": (frame(SETTINGS, 0, 0, b"\0\2\0\0\0\2"), PROTOCOL_ERROR),
    "initial windows beyond their limit": (
        frame(SETTINGS, 0, 0, b"\0\4" + number(1 << 31)),
        FLOW_CONTROL_ERROR,
    ),
    "frames below their least size": (frame(SETTINGS, 0, 0, b"\0\5\0\0\x3f\xff"), PROTOCOL_ERROR),
    "frames beyond their largest size": (frame(SETTINGS, 0, 0, b"\0\5\1\0\0\0"), PROTOCOL_ERROR),
    "a push by the client": (OPEN + frame(PUSH_PROMISE, 4, 1, number(2) + HEAD), PROTOCOL_ERROR),
    "PING on a stream": (frame(PING, 0, 1, bytes(8)), PROTOCOL_ERROR),
    "PING of a wrong size": (frame(PING, 0, 0, bytes(6)), FRAME_SIZE_ERROR),
    "GOAWAY on a stream": (frame(GOAWAY, 0, 1, bytes(8)), PROTOCOL_ERROR),
    "GOAWAY of a wrong size": (frame(GOAWAY, 0, 0, bytes(4)), FRAME_SIZE_ERROR),
    "a window that grows by nothing": (frame(WINDOW_UPDATE, 0, 0, number(0)), PROTOCOL_ERROR),
    "a window of an idle stream": (frame(WINDOW_UPDATE, 0, 1, number(8)), PROTOCOL_ERROR),
    "a window beyond its limit": (frame(WINDOW_UPDATE, 0, 0, number(MOST)), FLOW_CONTROL_ERROR),
    "WINDOW_UPDATE of a wrong size": (frame(WINDOW_UPDATE, 0, 0, b"\0\0\1"), FRAME_SIZE_ERROR),
    "a setting that lifts a window beyond its limit": (
        OPEN
        + frame(WINDOW_UPDATE, 0, 1, number(MOST - 65535))
        + frame(SETTINGS, 0, 0, b"\0\4" + number(MOST)),
        FLOW_CONTROL_ERROR,
    ),
}


def send(rig: Rig, data: bytes) -> Visitor:
    visitor = Visitor(rig, hello=False)
    visitor.end.send(PREFACE + data)
    return visitor


@pytest.mark.parametrize("data", HARMLESS.values(), ids=list(HARMLESS))
def test_what_is_to_be_ignored_is_ignored(rig: Rig, data: bytes) -> None:
    visitor = send(rig, data)
    visitor.end.send(frame(HEADERS, 5, 9, HEAD))
    assert codes(visitor.end.read()) == (None, {})
    assert rig.backend.read().startswith(b"GET / ")


@pytest.mark.parametrize(("data", "code"), STREAM_ERRORS.values(), ids=list(STREAM_ERRORS))
def test_what_concerns_one_stream_ends_it(rig: Rig, data: bytes, code: int) -> None:
    visitor = send(rig, data)
    assert codes(visitor.end.read()) == (None, {1: code})
    assert 1 not in visitor.server.streams
    visitor.end.send(frame(HEADERS, 5, 9, HEAD))
    assert rig.backend.read().startswith(b"GET / ")


@pytest.mark.parametrize(("data", "code"), CONNECTION_ERRORS.values(), ids=list(CONNECTION_ERRORS))
def test_what_confuses_the_connection_ends_it(rig: Rig, data: bytes, code: int) -> None:
    visitor = send(rig, data)
    assert codes(visitor.end.read()) == (code, {})
    assert visitor.closed and not rig.shared.backends["i1"].inflight
    visitor.end.sock.close()
    rig.advance(3)
    assert not rig.shared.clients


@pytest.mark.parametrize(
    "first", [frame(SETTINGS, 1, 0), frame(PING, 0, 0, bytes(8)), frame(HEADERS, 5, 1, HEAD)]
)
def test_a_client_begins_with_its_settings(rig: Rig, first: bytes) -> None:
    visitor = Visitor(rig, hello=False)
    visitor.end.send(PREFACE[:24] + first + frame(SETTINGS, 0, 0))
    assert codes(visitor.end.read()) == (PROTOCOL_ERROR, {})
    assert visitor.closed and not rig.dialled


@pytest.mark.parametrize("late", [frame(DATA, 1, 1, b"x"), ASKED], ids=["DATA", "HEADERS"])
def test_what_follows_a_request_that_is_answered_ends_the_connection(rig: Rig, late: bytes) -> None:
    visitor = send(rig, ASKED)
    served(rig, b"HTTP/1.1 204 No Content\r\n\r\n")
    visitor.end.take()
    assert not visitor.server.writer.streams
    visitor.end.send(late)
    assert codes(visitor.end.read()) == (STREAM_CLOSED, {})
    assert visitor.closed


def test_what_crossed_our_reset_is_ignored_and_keeps_the_tables_in_step(rig: Rig) -> None:
    """RFC 9113 5.1: the client may have sent it before it knew; its fields are in its table."""
    visitor = send(rig, frame(HEADERS, 4, 1, literal([*BASIC, (b"connection", b"x")])))
    assert codes(visitor.end.take()) == (None, {1: PROTOCOL_ERROR})
    visitor.end.send(frame(DATA, 0, 1, b"x") + frame(HEADERS, 5, 1, b"\x40\x03x-a\x03new"))
    visitor.end.send(frame(HEADERS, 5, 3, HEAD + b"\xbe"))
    assert codes(visitor.end.take()) == (None, {})
    assert b"\r\nx-a: new\r\n" in rig.backend.read()


def test_windows_are_given_back_when_half_is_used(rig: Rig) -> None:
    visitor = send(rig, OPEN)
    visitor.end.take()
    for _ in range(2):
        visitor.end.send(frame(DATA, 0, 1, bytes(16384)))
    assert visitor.end.take() == frame(WINDOW_UPDATE, 0, 1, number(32768))

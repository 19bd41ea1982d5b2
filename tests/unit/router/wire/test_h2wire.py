"""Frames of HTTP/2 as bytes: settings, padding, sizes."""

from __future__ import annotations

import pytest
from harness.http2 import PING, RST_STREAM, SETTINGS

from router.wire.h2wire import (
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
    ConnectionFailed,
    check_frame,
    read_settings,
    settings,
    unpadded,
)


def test_settings_are_written_and_the_last_value_of_each_is_read() -> None:
    data = settings({3: 100, 4: 5, 0x77: 9})
    assert data[:9] == b"\0\0\x12\4\0\0\0\0\0"
    assert read_settings(data[9:] + b"\0\4\0\0\0\6") == {3: 100, 4: 6, 0x77: 9}


@pytest.mark.parametrize(
    ("pair", "code"),
    [
        (b"\0\2\0\0\0\2", PROTOCOL_ERROR),
        (b"\0\4\x80\0\0\0", FLOW_CONTROL_ERROR),
        (b"\0\5\0\0\0\1", PROTOCOL_ERROR),
    ],
)
def test_a_setting_outside_its_range_fails(pair: bytes, code: int) -> None:
    with pytest.raises(ConnectionFailed) as failed:
        read_settings(pair)
    assert failed.value.code == code


def test_padding_is_taken_off() -> None:
    assert unpadded(0, b"\1body") == b"\1body"
    assert unpadded(8, b"\1body\0") == b"body"
    assert unpadded(8, b"\2\0\0") == b""
    for payload in (b"", b"\1", b"\5body"):
        with pytest.raises(ConnectionFailed):
            unpadded(8, payload)


def test_frames_of_a_fixed_size_have_it() -> None:
    check_frame(RST_STREAM, 0, 1, 4)
    check_frame(SETTINGS, 0, 0, 12)
    check_frame(99, 0, 7, 1234)
    for kind, flags, id, size in [(RST_STREAM, 0, 1, 5), (SETTINGS, 1, 0, 6), (PING, 0, 0, 7), (7, 0, 0, 7)]:
        with pytest.raises(ConnectionFailed) as failed:
            check_frame(kind, flags, id, size)
        assert failed.value.code == FRAME_SIZE_ERROR

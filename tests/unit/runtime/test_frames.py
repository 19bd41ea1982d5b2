"""Requests that a control plane which was taken over might send: refused as what they are, never an accident."""

from __future__ import annotations

import struct

import pytest

from runtime.frames import FrameError, JsonDecoder


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_a_message_nested_without_end_is_no_message(opening: bytes) -> None:
    body = opening * 100_000
    with pytest.raises(FrameError):
        JsonDecoder().feed(struct.pack(">I", len(body)) + body)

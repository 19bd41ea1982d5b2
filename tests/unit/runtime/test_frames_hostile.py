"""Requests that a control plane which was taken over might send: refused as what they are, never an accident."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from runtime.frames import FrameError, JsonDecoder
from runtime.spec import Process, SpecError, parse


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_a_message_nested_without_end_is_no_message(opening: bytes) -> None:
    body = opening * 100_000
    with pytest.raises(FrameError):
        JsonDecoder().feed(struct.pack(">I", len(body)) + body)


@pytest.mark.parametrize("change", [{"args": ["\ud800"]}, {"env": {"A": "\ud800"}}, {"cwd": "/\ud800"}])
def test_half_a_surrogate_pair_is_no_text(change: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="is not text"):
        parse(Process, json.loads(json.dumps({"args": ["true"], **change})), "process")


def test_bytes_that_are_no_utf_8_pass() -> None:
    assert parse(Process, {"args": ["\udcff"]}, "process").args == ("\udcff",)

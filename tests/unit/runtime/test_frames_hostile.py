"""Requests that a control plane which was taken over might send: refused as what they are, never an accident."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from runtime.frames import FrameError, JsonDecoder
from runtime.spec import ContainerSpec, SpecError

SPEC: dict[str, Any] = {
    "id": "i1", "layers": ["sha256:" + "a" * 64], "argv": ["true"], "id_base": 1 << 20, "log": {"app_id": "a1"},
}  # fmt: skip


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_a_message_nested_without_end_is_no_message(opening: bytes) -> None:
    body = opening * 100_000
    with pytest.raises(FrameError):
        JsonDecoder().feed(struct.pack(">I", len(body)) + body)


@pytest.mark.parametrize("change", [{"argv": ["\ud800"]}, {"env": {"A": "\ud800"}}, {"cwd": "/\ud800"}])
def test_half_a_surrogate_pair_is_no_text(change: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="is not text"):
        ContainerSpec.from_json(json.loads(json.dumps({**SPEC, **change})))


def test_bytes_that_are_no_utf_8_pass() -> None:
    assert ContainerSpec.from_json({**SPEC, "argv": ["\udcff"]}).argv == ("\udcff",)

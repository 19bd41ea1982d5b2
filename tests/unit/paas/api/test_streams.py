"""Answers line by line: order, errors, pings in silence, and the end when nobody reads."""

from __future__ import annotations

import json
import logging
import socket
import threading
from typing import Any

import pytest

from paas.api.streams import Cancelled, Emit, Work, _run, hung_up
from paas.nouns.errors import Conflict


def messages(work: Work) -> list[dict[str, Any]]:
    return [json.loads(line) for piece in _run(work, None) for line in piece.splitlines()]


def without_pings(work: Work) -> list[dict[str, Any]]:
    return [message for message in messages(work) if "ping" not in message]


def test_lines_come_in_order_and_the_result_last() -> None:
    def work(emit: Emit, cancelled: Cancelled) -> dict[str, Any]:
        for number in range(1200):
            emit(str(number))
        return {"x": 1}

    found = without_pings(work)
    assert [message.get("line") for message in found[:-1]] == [str(number) for number in range(1200)]
    assert found[-1] == {"done": True, "result": {"x": 1}}


def test_an_error_of_the_platform_ends_the_stream_as_it_is() -> None:
    def work(emit: Emit, cancelled: Cancelled) -> dict[str, Any]:
        raise Conflict("Taken.", "Choose another.")

    (end,) = without_pings(work)
    assert (end["error"]["code"], end["error"]["message"]) == ("conflict", "Taken.")


def test_a_bug_ends_the_stream_with_an_id_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def work(emit: Emit, cancelled: Cancelled) -> dict[str, Any]:
        raise KeyError("secret")

    with caplog.at_level(logging.ERROR):
        (end,) = without_pings(work)
    assert end["error"]["code"] == "internal" and "secret" not in end["error"]["message"]
    assert end["error"]["message"].split()[2].rstrip(".") in caplog.text and "KeyError" in caplog.text


def test_silence_is_filled_with_pings() -> None:
    speak = threading.Event()

    def work(emit: Emit, cancelled: Cancelled) -> dict[str, Any]:
        speak.wait(30)
        return {}

    stream = _run(work, None)
    assert json.loads(next(stream)) == {"ping": True}
    speak.set()
    assert json.loads(list(stream)[-1])["done"]


def test_a_client_that_hangs_up_cancels_the_work() -> None:
    ended = threading.Event()

    def work(emit: Emit, cancelled: Cancelled) -> dict[str, Any]:
        emit("started")
        while not cancelled():
            ended.wait(0.01)
        ended.set()
        return {}

    ours, theirs = socket.socketpair()
    with ours:
        stream = _run(work, ours)
        assert b"started" in next(stream)
        assert not hung_up(ours)
        theirs.close()
        assert [piece for piece in stream if b"ping" not in piece] == []
    assert ended.wait(30)

"""Answers that last: newline-delimited JSON with a ping in each silent second, cancelled when the client hangs up."""

from __future__ import annotations

import json
import queue
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from flask import Response, request

from paas.api.access import principal
from paas.api.errors import internal_error
from paas.api.seats import places
from paas.daemon import threads
from paas.nouns.errors import PaasError

PING_S = 1.0
_LOOK_S = 0.1
_WAITING_LINES = 10_000

Emit = Callable[[str], None]
Cancelled = Callable[[], bool]
Work = Callable[[Emit, Cancelled], dict[str, Any]]


def stream(work: Work) -> Response:
    """Run `work(emit, cancelled)` and send its lines, then its result or its PaasError. Raises Unavailable."""
    leave = places.stay(principal())
    response = _response(_run(work, request.environ.get("gunicorn.socket")))
    response.call_on_close(leave)
    return response


def line_stream(poll: Callable[[], list[str]], first: list[str], *, interval_s: float) -> Response:
    """Send `first`, then what each `poll` gives, until the client hangs up."""
    return _response(_poll(poll, first, interval_s, request.environ.get("gunicorn.socket")))


def hung_up(sock: socket.socket | None) -> bool:
    """Has the peer closed its end?"""
    if sock is None:
        return False
    poller = select.poll()
    try:
        poller.register(sock, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
        return bool(poller.poll(0))
    except (OSError, ValueError):
        return True


def _response(lines: Iterator[bytes]) -> Response:
    return Response(lines, mimetype="application/x-ndjson", headers={"X-Accel-Buffering": "no"})


def _encoded(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _run(work: Work, sock: socket.socket | None) -> Iterator[bytes]:
    waiting: queue.Queue[dict[str, Any]] = queue.Queue(_WAITING_LINES)
    gone = threading.Event()

    def put(message: dict[str, Any]) -> None:
        while not gone.is_set():
            try:
                return waiting.put(message, timeout=1.0)
            except queue.Full:
                continue

    def body() -> None:
        try:
            end: dict[str, Any] = {
                "done": True,
                "result": work(lambda text: put({"line": text}), gone.is_set),
            }
        except PaasError as error:
            end = {"done": True, "error": error.to_json()}
        except Exception as error:
            end = {"done": True, "error": internal_error(error).to_json()}
        put(end)

    threads.start("stream", body)
    spoke = time.monotonic() - PING_S + _LOOK_S / 2  # the head of the answer leaves with the first bytes
    try:
        while True:
            try:
                messages = [waiting.get(timeout=_LOOK_S)]
            except queue.Empty:
                if hung_up(sock):
                    return
                if time.monotonic() - spoke < PING_S:
                    continue
                messages = [{"ping": True}]
            while not waiting.empty() and len(messages) < 500:
                messages.append(waiting.get())
            yield b"".join(map(_encoded, messages))
            spoke = time.monotonic()
            if "done" in messages[-1]:
                return
    finally:
        gone.set()


def _poll(
    poll: Callable[[], list[str]], lines: list[str], interval_s: float, sock: socket.socket | None
) -> Iterator[bytes]:
    spoke = time.monotonic() - PING_S
    while True:
        if lines:
            yield b"".join(_encoded({"line": text}) for text in lines)
            spoke = time.monotonic()
        elif time.monotonic() - spoke >= PING_S:
            yield _encoded({"ping": True})
            spoke = time.monotonic()
        if hung_up(sock):
            return
        time.sleep(interval_s)
        lines = poll()

"""Streaming answers: newline-delimited JSON with a ping in each silent second, cancelled when the client hangs up."""

from __future__ import annotations

import json
import queue
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from flask import Response, request

from paas.api.access import principal
from paas.api.errors import internal_error
from paas.api.limiter import limiter
from paas.daemon import threads
from paas.nouns.errors import PaasError

PING_S = 1.0
_LOOK_S = 0.1
_WAITING_LINES = 10_000
_MESSAGES_AT_ONCE = 500

Emit = Callable[[str], None]
Cancelled = Callable[[], bool]
Work = Callable[[Emit, Cancelled], dict[str, Any]]


def stream(work: Work) -> Response:
    """Run `work(emit, cancelled)` and send its lines, then its result or its PaasError. Raises Unavailable."""
    return lasting(lambda: _response(_run(work, request.environ.get("gunicorn.socket"))))


def lasting(make: Callable[[], Response]) -> Response:
    """The response of `make`; until it is closed, its request counts as a lasting one. Raises Unavailable."""
    leave = limiter.acquire_lasting(principal())
    with ExitStack() as failed:
        failed.callback(leave)
        response = make()
        failed.pop_all()
    response.call_on_close(leave)
    return response


def line_stream(poll: Callable[[], list[str]], first: list[str], *, interval_s: float) -> Response:
    """Send `first`, then what each `poll` gives, until the client hangs up."""
    return _response(_poll(poll, first, interval_s, request.environ.get("gunicorn.socket")))


def hung_up(sock: socket.socket | None) -> bool:
    """True if the peer has closed its end."""
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


class _Running:
    """Work in a thread of its own, and the messages that wait to be sent."""

    def __init__(self, work: Work) -> None:
        self.gone = threading.Event()
        """Set when the client no longer reads."""
        self._work = work
        self._waiting: queue.Queue[dict[str, Any]] = queue.Queue(_WAITING_LINES)
        threads.start("stream", self._do)

    def messages(self) -> list[dict[str, Any]]:
        """What has come, after a moment if need be; nothing when that has passed in silence."""
        try:
            found = [self._waiting.get(timeout=_LOOK_S)]
        except queue.Empty:
            return []
        while not self._waiting.empty() and len(found) < _MESSAGES_AT_ONCE:
            found.append(self._waiting.get())
        return found

    def _do(self) -> None:
        end: dict[str, Any] = {"done": True}
        try:
            end["result"] = self._work(lambda text: self._put({"line": text}), self.gone.is_set)
        except PaasError as error:
            end["error"] = error.to_json()
        except Exception as error:
            end["error"] = internal_error(error).to_json()
        self._put(end)

    def _put(self, message: dict[str, Any]) -> None:
        while not self.gone.is_set():
            try:
                return self._waiting.put(message, timeout=1.0)
            except queue.Full:
                continue


def _run(work: Work, sock: socket.socket | None) -> Iterator[bytes]:
    running = _Running(work)
    spoke = time.monotonic() - PING_S + _LOOK_S / 2  # the head of the answer leaves with the first bytes
    try:
        while True:
            messages = running.messages()
            if not messages:
                if hung_up(sock):
                    return
                if time.monotonic() - spoke < PING_S:
                    continue
                messages = [{"ping": True}]
            yield b"".join(map(_encoded, messages))
            spoke = time.monotonic()
            if "done" in messages[-1]:
                return
    finally:
        running.gone.set()


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

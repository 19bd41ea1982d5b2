"""Requests to the router's workers over their control sockets, one per connection. Workers face the internet, so the
length of an answer is bounded and its shape is checked."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runtime.frames import FrameError, JsonDecoder, encode_json

TIMEOUT_S = 2.0
MAX_ANSWER_BYTES = 64 * 1024 * 1024


def sockets(folder: Path) -> list[Path]:
    """The control sockets in this folder; a worker may have died and left its own."""
    return sorted(folder.glob("worker-*.sock"))


def ask(path: Path, op: str) -> dict[str, Any] | None:
    """A worker's answer; None if there is none in time."""
    decoder = JsonDecoder()
    with contextlib.suppress(OSError, FrameError):
        for piece in _answer(path, encode_json({"op": op})):
            for answer in decoder.feed(piece):
                return answer if isinstance(answer, dict) else None
    return None


def metrics(path: Path) -> str | None:
    """A worker's metrics as Prometheus text; None if there is no answer in time."""
    try:
        data = b"".join(_answer(path, b"GET /metrics HTTP/1.1\r\nHost: router\r\n\r\n"))
    except OSError:
        return None
    head, end, text = data.partition(b"\r\n\r\n")
    return text.decode("utf-8", "replace") if end and head.startswith(b"HTTP/1.1 200 ") else None


def up_to_date(folder: Path, pid: int) -> bool:
    """True if this worker answers and no other has a newer table."""
    found = {path: (ask(path, "subscribe") or {}).get("generation") for path in sockets(folder)}
    generations = [number for number in found.values() if isinstance(number, int)]
    own = found.get(folder / f"worker-{pid}.sock")
    return isinstance(own, int) and own >= max(generations)


def answering(folder: Path) -> list[Path]:
    """The control sockets of workers that answer; dead ones are removed."""
    alive = []
    for path in sockets(folder):
        try:
            _connected(path).close()
            alive.append(path)
        except BlockingIOError:
            alive.append(path)
        except OSError:
            path.unlink(missing_ok=True)
    return alive


def _answer(path: Path, question: bytes) -> Iterator[bytes]:
    """The answer, piece by piece, until the worker closes. Raises OSError if it takes too long or is too long."""
    deadline = time.monotonic() + TIMEOUT_S
    size = 0
    with _connected(path) as sock:
        sock.sendall(question)
        while piece := sock.recv(1 << 18):
            yield piece
            size += len(piece)
            sock.settimeout(max(0.001, deadline - time.monotonic()))
            if size > MAX_ANSWER_BYTES:
                raise OSError("the answer is too long")


def _connected(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    sock.settimeout(TIMEOUT_S)
    try:
        sock.connect(str(path))
    except OSError:
        sock.close()
        raise
    return sock

"""The control socket of a worker: requests, answers and events are JSON with a length before it; `GET /metrics` is
HTTP.

Requests: `table`, `stats`, `drain`, `subscribe`. The permissions of the folder decide who may connect.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from router import core
from router.back.upstreams import StaleTable, Upstreams
from router.io.loop import Loop
from router.io.stream import BROKEN, READ_BYTES, Stream
from router.report.exposition import CONTENT_TYPE, WorkerState, render
from router.rules.pieces import Pieces, load, release, save
from router.rules.table import RouteTable
from router.rules.tablefile import Draft, TableError
from router.shared import Shared

MAX_MESSAGE_BYTES: Final = 32 * 1024 * 1024
LARGE_BYTES: Final = 16 * 1024
"""Longer messages are parsed in pieces, between which the loop serves."""
MAX_UNSENT_BYTES: Final = 4 * 1024 * 1024
"""A peer that leaves more than this unread is disconnected."""


def encode_message(message: Any) -> bytes:
    """Four bytes of big-endian length, then JSON."""
    body = json.dumps(message, separators=(",", ":")).encode()
    return struct.pack(">I", len(body)) + body


class MessageDecoder:
    """Cuts a stream of bytes into messages, which are still JSON."""

    def __init__(self) -> None:
        self.buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that these bytes complete. Raises ValueError for one that is too long."""
        self.buffer += data
        messages = []
        while len(self.buffer) >= 4:
            (length,) = struct.unpack_from(">I", self.buffer)
            if length > MAX_MESSAGE_BYTES:
                raise ValueError(f"a message of {length} bytes")
            if len(self.buffer) < 4 + length:
                break
            with memoryview(self.buffer) as view:
                messages.append(bytes(view[4 : 4 + length]))
            del self.buffer[: 4 + length]
        return messages


class ControlConnection(Stream):
    """One peer on the control socket. Its messages are answered in order; `working` is set while one is answered over
    several turns of the loop."""

    __slots__ = ("control", "decoder", "messages", "working")

    def __init__(self, control: ControlServer, fd: int) -> None:
        super().__init__(control.loop, fd)
        self.control = control
        self.decoder = MessageDecoder()
        self.messages: deque[bytes] = deque()
        self.working = False
        control.loop.add(fd, self)

    def readable(self) -> None:
        data = self.receive()
        if data is None:
            return
        if not data:
            self.lost()
            return
        if bytes(self.decoder.buffer[:4] + data[:4])[:4] == b"GET ":
            self._http(data)
            return
        try:
            self.messages.extend(self.decoder.feed(data))
        except ValueError:
            self.lost()
            return
        self._next()

    def _next(self) -> None:
        while self.messages and not self.working and self.fd >= 0:
            self.control.serve(self, self.messages.popleft())

    def begin(self) -> None:
        """Read no more messages until this one is answered, in a later turn of the loop."""
        self.working = True
        self.pause()

    def done(self) -> None:
        """The answer was sent: handle the next message."""
        self.working = False
        if self.fd >= 0:
            self.resume()
            self._next()

    def _http(self, data: bytes) -> None:
        self.decoder.buffer += data
        if b"\r\n\r\n" not in self.decoder.buffer:
            if len(self.decoder.buffer) > READ_BYTES:
                self.lost()
            return
        found = bytes(self.decoder.buffer).startswith(b"GET /metrics ")
        body = self.control.metrics().encode() if found else b"not found\n"
        status = b"200 OK" if found else b"404 Not Found"
        self.send(
            b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
            % (status, CONTENT_TYPE.encode(), len(body), body)
        )
        if not self.out:
            self.lost()

    def send_message(self, message: Any) -> None:
        """Send a message, if the peer is still there."""
        if self.fd >= 0 and (
            self.send(encode_message(message)) == BROKEN or len(self.out or b"") > MAX_UNSENT_BYTES
        ):
            self.lost()

    def drained(self) -> None:
        if self.decoder.buffer[:4] == b"GET ":
            self.lost()

    def lost(self) -> None:
        self.control.subscribers.discard(self)
        self.close()


class ControlServer:
    """Listens on `FOLDER/worker-PID.sock` and serves one worker. Each table that is put in force is also written to
    `table_file`."""

    def __init__(
        self,
        shared: Shared,
        upstreams: Upstreams,
        folder: Path | None,
        table_file: Path | None,
        start_drain: Callable[[], None],
    ) -> None:
        self.shared = shared
        self._upstreams = upstreams
        self.loop: Loop = shared.loop
        self.subscribers: set[ControlConnection] = set()
        self._answering = False
        self._held: list[dict[str, Any]] = []
        self._table_file = table_file
        self._start_drain = start_drain
        self._path = folder / f"worker-{os.getpid()}.sock" if folder is not None else None
        shared.on_event = self._publish
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            self._socket.bind(str(self._path))
            self._path.chmod(0o660)
            self._socket.listen(64)
            self.loop.add(self._socket.fileno(), self)

    def readable(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            peer, _ = self._socket.accept()
            peer.setblocking(False)
            ControlConnection(self, peer.detach())

    def event(self, mask: int) -> None:
        self.readable()

    def abort(self) -> None: ...

    def close(self) -> None:
        self.shared.later.give_up()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def answer(self, peer: ControlConnection, message: Any) -> dict[str, Any]:
        """Serve any request but `table`; returns the answer."""
        verb = _verb(message)
        if verb == "stats":
            self.shared.access.flush()
            return self._stats()
        if verb == "drain":
            self._start_drain()
            return {"ok": True, "worker": os.getpid()}
        if verb == "subscribe":
            self.subscribers.add(peer)
            idle = [b.id for b in self.shared.backends.values() if b.draining and not b.inflight]
            return {
                "ok": True,
                "worker": os.getpid(),
                "generation": self.shared.table.generation,
                "drained": idle,
            }
        return self._error("bad-message", f"no such message: {verb!r}")

    def _stats(self) -> dict[str, Any]:
        shared = self.shared
        return {
            "ok": True,
            "worker": shared.pid,
            "number": shared.worker,
            "core": core.loaded(),
            "generation": shared.table.generation,
            "draining": shared.draining,
            "clients": len(shared.clients),
            "queues": {app: len(gate.waiting) for app, gate in shared.gates.items()},
            **shared.metrics.to_json(shared.backends.values(), shared.loop.now),
        }

    def metrics(self) -> str:
        """The counters as Prometheus text."""
        self.shared.access.flush()
        return render(worker_state(self.shared))

    def _table(self, peer: ControlConnection, document: Any) -> Pieces[None]:
        """Check a table, write it to its file, put it in force."""
        try:
            draft: Draft = yield from self._upstreams.read_table(document)
        except (StaleTable, TableError) as error:
            peer.send_message(
                self._error("stale" if isinstance(error, StaleTable) else "bad-table", str(error))
            )
            return
        if self._table_file is not None:
            yield from save(self._table_file, document)
        previous: list[RouteTable] = []

        def put_in_force() -> dict[str, Any]:
            previous.append(self._upstreams.put_in_force(draft))
            return {"ok": True, "generation": draft.table.generation, "worker": os.getpid()}

        self._reply(peer, put_in_force)
        yield from release(document, previous[0].hosts, previous[0].certificates)

    def _error(self, code: str, message: str) -> dict[str, Any]:
        return {
            "ok": False,
            "generation": self.shared.table.generation,
            "worker": os.getpid(),
            "error": {"code": code, "message": message},
        }

    def _publish(self, event: dict[str, Any]) -> None:
        if self._answering:
            self._held.append(event)
            return
        for subscriber in list(self.subscribers):
            subscriber.send_message(event)

    def serve(self, peer: ControlConnection, message: bytes) -> None:
        """Answer a message; a large one, or a table, in later turns of the loop."""
        if len(message) <= LARGE_BYTES:
            try:
                small = json.loads(message)
            except (ValueError, RecursionError):
                peer.lost()
                return
            if _verb(small) != "table":
                self._reply(peer, lambda: self.answer(peer, small))
                return
        peer.begin()
        self.shared.later.add(self._serve(peer, message))

    def _serve(self, peer: ControlConnection, message: bytes) -> Pieces[None]:
        try:
            read = yield from load(message.decode())
            if _verb(read) == "table":
                yield from self._table(peer, read.get("table"))
            else:
                self._reply(peer, lambda: self.answer(peer, read))
        except (ValueError, RecursionError):
            peer.lost()
        finally:
            peer.done()

    def _reply(self, peer: ControlConnection, act: Callable[[], dict[str, Any]]) -> None:
        """Call `act` and send the answer that it returns, before any event that it causes."""
        self._answering = True
        try:
            answer = act()
        finally:
            self._answering = False
        peer.send_message(answer)
        for id in answer.get("drained", ()):
            peer.send_message({"event": "drained", "id": id})
        held, self._held = self._held, []
        for event in held:
            self._publish(event)


def worker_state(shared: Shared) -> WorkerState:
    """What the metrics show. A draining worker adds its process id to its label, because its successor has its
    number."""
    return WorkerState(
        label=f"{shared.worker}.{shared.pid}" if shared.draining else str(shared.worker),
        metrics=shared.metrics,
        backends=list(shared.backends.values()),
        queues={app: len(gate.waiting) for app, gate in shared.gates.items()},
        clients=len(shared.clients),
        draining=shared.draining,
        generation=shared.table.generation,
        log_lines_lost=shared.access.lost,
        now=shared.loop.now,
    )


def _verb(message: Any) -> Any:
    return message.get("op") if isinstance(message, dict) else None


def load_table(path: Path) -> Any:
    """The table in a file, or None if the file cannot be read or is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None

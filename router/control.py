"""The control socket of a worker: length-prefixed JSON in, answers and events out; `GET /metrics` as plain HTTP too.

Messages: `table`, `stats`, `drain`, `subscribe`. Who may connect is a matter of the folder's permissions.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from router import core
from router.exposition import CONTENT_TYPE, render
from router.loop import Loop
from router.proxy import Proxy, StaleTable
from router.stream import BROKEN, READ_BYTES, Stream
from router.table import TableError

MAX_MESSAGE_BYTES: Final = 32 * 1024 * 1024
MAX_UNREAD_BYTES: Final = 4 * 1024 * 1024


def encode(message: Any) -> bytes:
    """Four bytes of big-endian length, then JSON."""
    body = json.dumps(message, separators=(",", ":")).encode()
    return struct.pack(">I", len(body)) + body


class Decoder:
    """Bytes in, messages out. Raises ValueError for what is no message."""

    def __init__(self) -> None:
        self.buffer = bytearray()

    def feed(self, data: bytes) -> list[Any]:
        self.buffer += data
        messages = []
        while len(self.buffer) >= 4:
            (length,) = struct.unpack_from(">I", self.buffer)
            if length > MAX_MESSAGE_BYTES:
                raise ValueError(f"a message of {length} bytes")
            if len(self.buffer) < 4 + length:
                break
            messages.append(json.loads(bytes(self.buffer[4 : 4 + length])))
            del self.buffer[: 4 + length]
        return messages


class ControlConnection(Stream):
    """One peer on the control socket."""

    __slots__ = ("control", "decoder")

    def __init__(self, control: ControlServer, fd: int) -> None:
        super().__init__(control.loop, fd)
        self.control = control
        self.decoder = Decoder()
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
            messages = self.decoder.feed(data)
        except ValueError:
            self.lost()
            return
        for message in messages:
            self.control.serve(self, message)

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

    def tell(self, message: Any) -> None:
        if self.fd >= 0 and (self.send(encode(message)) == BROKEN or len(self.out or b"") > MAX_UNREAD_BYTES):
            self.lost()

    def drained(self) -> None:
        if self.decoder.buffer[:4] == b"GET ":
            self.lost()

    def lost(self) -> None:
        self.control.subscribers.discard(self)
        self.close()


class ControlServer:
    """Listens on `FOLDER/worker-PID.sock` and rules one Proxy. A table that is put in force is kept in `table_file`."""

    def __init__(
        self, proxy: Proxy, folder: Path | None, table_file: Path | None, start_drain: Callable[[], None]
    ) -> None:
        self.proxy = proxy
        self.loop: Loop = proxy.loop
        self.subscribers: set[ControlConnection] = set()
        self._answering = False
        self._held: list[dict[str, Any]] = []
        self._table_file = table_file
        self._start_drain = start_drain
        self._path = folder / f"worker-{os.getpid()}.sock" if folder is not None else None
        proxy.on_event = self._publish
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
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def answer(self, peer: ControlConnection, message: Any) -> dict[str, Any]:
        """Do what one message asks."""
        verb = message.get("op") if isinstance(message, dict) else None
        if verb == "table":
            return self._set_table(message.get("table"))
        if verb == "stats":
            self.proxy.access.flush()
            return self._stats()
        if verb == "drain":
            self._start_drain()
            return {"ok": True, "worker": os.getpid()}
        if verb == "subscribe":
            self.subscribers.add(peer)
            idle = [b.id for b in self.proxy.backends.values() if b.draining and not b.inflight]
            return {
                "ok": True,
                "worker": os.getpid(),
                "generation": self.proxy.table.generation,
                "drained": idle,
            }
        return self._error("bad-message", f"no such message: {verb!r}")

    def _stats(self) -> dict[str, Any]:
        proxy = self.proxy
        return {
            "ok": True,
            "worker": proxy.pid,
            "number": proxy.worker,
            "core": core.loaded(),
            "generation": proxy.table.generation,
            "draining": proxy.draining,
            "clients": len(proxy.clients),
            "queues": {app: len(gate.waiting) for app, gate in proxy.gates.items()},
            **proxy.metrics.to_json(proxy.backends.values(), proxy.loop.now),
        }

    def metrics(self) -> str:
        """The counters as Prometheus text."""
        self.proxy.access.flush()
        return render(self.proxy)

    def _set_table(self, document: Any) -> dict[str, Any]:
        try:
            generation = self.proxy.set_table(document)
        except (StaleTable, TableError) as error:
            return self._error("stale" if isinstance(error, StaleTable) else "bad-table", str(error))
        if self._table_file is not None:
            save_table(self._table_file, document)
        return {"ok": True, "generation": generation, "worker": os.getpid()}

    def _error(self, code: str, message: str) -> dict[str, Any]:
        return {
            "ok": False,
            "generation": self.proxy.table.generation,
            "worker": os.getpid(),
            "error": {"code": code, "message": message},
        }

    def _publish(self, event: dict[str, Any]) -> None:
        if self._answering:
            self._held.append(event)
            return
        for subscriber in list(self.subscribers):
            subscriber.tell(event)

    def serve(self, peer: ControlConnection, message: Any) -> None:
        """Answer a message; events that it caused follow the answer."""
        self._answering = True
        try:
            answer = self.answer(peer, message)
        finally:
            self._answering = False
        peer.tell(answer)
        for id in answer.get("drained", ()):
            peer.tell({"event": "drained", "id": id})
        held, self._held = self._held, []
        for event in held:
            self._publish(event)


def save_table(path: Path, document: Any) -> None:
    """Keep the last good table: whole or not at all. It is a cache, so a full disk is no error."""
    with contextlib.suppress(OSError):
        fd, name = tempfile.mkstemp(prefix=path.name, dir=path.parent)
        try:
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                json.dump(document, file, separators=(",", ":"))
            os.replace(name, path)
        except OSError:
            os.unlink(name)


def load_table(path: Path) -> Any:
    """The document kept by `save_table`, or None when there is none that can be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None

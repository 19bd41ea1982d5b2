"""A whole router in one thread without time: clients and backends are ends of socket pairs, the clock is a number.

`rig.run()` handles events until nothing happens any more, so a test says: send these bytes, run, look what the
backend got, answer, run, look what the client got.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import ssl
from pathlib import Path
from typing import Any, NamedTuple

from harness.certificates import client_context
from router.back.connection import BackendConnection
from router.back.upstreams import Upstreams
from router.front.client_limits import ClientLimit
from router.front.entrance import PROTOCOLS, Entrance
from router.front.http1 import Http1Connection
from router.io.certificates import Certificates
from router.rules.route import Backend
from router.shared import Limits, Shared
from router.upkeep import Upkeep

ADDRESS = b"192.0.2.7"
PORT = 8080
SECURE_PORT = 8443


class Logged(NamedTuple):
    """An entry of the access log, its fields by name."""

    wall: float
    method: bytes
    target: bytes
    host: bytes
    request_id: bytes
    forwarded: bytes
    backend: Backend | None
    connect_s: float
    service_s: float
    status: int
    body_bytes: int
    own_answer: Any
    route: Any
    scheme: bytes

    @property
    def dyno(self) -> bytes:
        return self.backend.dyno if self.backend is not None else b""


class End:
    """The test's end of a connection. `got` gathers what was received; `closed` is set at the end of input,
    `reset` when it came as an error."""

    def __init__(self, rig: Rig, sock: socket.socket, backend: str = "") -> None:
        self.rig = rig
        self.sock = sock
        self.backend = backend
        self.got = b""
        self.closed = False
        self.reset = False

    def send(self, data: bytes) -> None:
        """Send and let the router work."""
        view = memoryview(data)
        while view:
            try:
                count = self.sock.send(view)
            except BlockingIOError:
                self.rig.run()
                continue
            view = view[count:]
        self.rig.run()

    def read(self) -> bytes:
        """Everything received so far."""
        while not self.closed:
            try:
                data = self.sock.recv(1 << 20)
            except BlockingIOError:
                break
            except ConnectionResetError:
                self.closed = self.reset = True
                break
            if not data:
                self.closed = True
            self.got += data
        return self.got

    def take(self) -> bytes:
        """What was received since the last call."""
        data = self.read()
        self.got = b""
        return data

    def finish(self) -> None:
        """Send no more (a half-close)."""
        self.sock.shutdown(socket.SHUT_WR)
        self.rig.run()

    def close(self) -> None:
        """Close in good order: everything has been read."""
        self.read()
        self.sock.close()
        self.rig.run()

    def crash(self) -> None:
        """Close with a reset: something that was sent to us is never read (so it must have been)."""
        self.sock.close()
        self.rig.run()


class SecureEnd(End):
    """The test's end of a TLS connection."""

    def __init__(
        self, rig: Rig, sock: socket.socket, name: str | None, context: ssl.SSLContext, session: Any = None
    ) -> None:
        super().__init__(rig, sock)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context.check_hostname = context.check_hostname and name is not None
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name, session=session)
        self.plain = b""
        self.ended = False
        """The router has said that it sends no more."""

    def shake(self, step: int = 1 << 20) -> SecureEnd:
        """Do the handshake, sending so many bytes at a time. Raises ssl.SSLError."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self._exchange(step)
                continue
            self._exchange(step)
            return self

    def _exchange(self, step: int) -> None:
        """Send what is due, receive what has come. Raises ConnectionResetError, ssl.SSLEOFError."""
        due = self.outgoing.read()
        for at in range(0, len(due), step):
            super().send(due[at : at + step])
        self.rig.run()
        self.incoming.write(self.received())
        if self.closed and not self.incoming.pending:
            self.incoming.write_eof()

    def received(self) -> bytes:
        """The bytes on the wire since the last call."""
        super().read()
        data, self.got = self.got, b""
        return data

    def seal(self, data: bytes) -> bytes:
        """The records of these bytes."""
        self.tls.write(data)
        return self.outgoing.read()

    def send(self, data: bytes) -> None:
        super().send(self.seal(data))

    def read(self) -> bytes:
        """Everything received so far, decrypted."""
        self.incoming.write(self.received())
        with contextlib.suppress(ssl.SSLWantReadError):
            while data := self.tls.read(65536):
                self.plain += data
            self.ended = True
        return self.plain

    def take(self) -> bytes:
        data = self.read()
        self.plain = b""
        return data


class Rig:
    """One router worker without its process. `dialled` are the connections that it opened, in order; `refusing` maps backend ids to errnos."""

    def __init__(self, backends: tuple[str, ...] = ("i1",), **flags: Any) -> None:
        self.now = 1000.0
        self.shared = Shared(limits=Limits(), clock=lambda: self.now)
        self.shared.access.batch = 1_000_000  # entries of the log stay to be looked at
        self.shared.loop.backlog = ()
        self.shared.loop.deadline_work = lambda: None
        self.upstreams = Upstreams(self.shared)
        self.upkeep = Upkeep(self.shared, self.upstreams)
        self.upstreams.open = self._connect
        self.upstreams.dial = self._dial
        self.events: list[dict[str, Any]] = []
        self.shared.on_event = self.events.append
        self.dialled: list[End] = []
        self.probes: list[End] = []
        """Connections of health checks."""
        self.refusing: dict[str, int] = {}
        self.silent: set[str] = set()
        """Backends to which connecting never comes to an end."""
        self.ends: list[End] = []
        self.entrance = Entrance(self.shared, PORT)
        self.generation = 0
        self.more: dict[str, Any] = {}
        """What tables have besides routes and pools."""
        self.set_table(backends, **flags)

    def set_table(self, backends: tuple[str, ...], draining: tuple[str, ...] = (), **flags: Any) -> None:
        """A table with one route for app.test over these backends (`web.1`, `web.2` …)."""
        self.generation += 1
        pool = [
            {
                "id": id,
                "address": "192.0.2.9",
                "port": 5000,
                "dyno": f"web.{number}",
                "draining": id in draining,
            }
            for number, id in enumerate(backends, 1)
        ]
        route = {
            "host": "app.test",
            "app": "app",
            "log": "a0",
            "pool": "p" if backends else None,
            "flags": flags,
        }
        document = {"generation": self.generation, "routes": [route], "pools": {"p": pool}}
        self.upstreams.set_table(document | self.more)
        self.run()

    def client(self) -> End:
        """A new client."""
        end, fd = self._pair()
        Http1Connection(self.shared, fd, ADDRESS, PORT)
        return end

    def secure_client(
        self,
        name: str | None = "app.test",
        context: ssl.SSLContext | None = None,
        session: Any = None,
        address: bytes = ADDRESS,
    ) -> SecureEnd:
        """A new client that speaks TLS; its handshake has not begun."""
        ours, fd = self._sockets()
        end = SecureEnd(self, ours, name, context or client_context(), session)
        self.ends.append(end)
        assert self.secure_entrance.accept(fd, address)
        return end

    def arriving(self, address: bytes = ADDRESS) -> End:
        """A new client that comes in by a listener; it may be refused."""
        end, fd = self._pair()
        if not self.entrance.accept(fd, address):
            os.close(fd)
        return end

    def limit_clients(self, limit: int) -> ClientLimit:
        """Let each client have so many connections."""
        client_limit = self.entrance.client_limit = self.secure_entrance.client_limit = ClientLimit(limit)
        self.shared.loop.close_descriptor = client_limit.close
        return client_limit

    def serve_tls(self, files: Path, kept: int = 100) -> None:
        """Let there be a TLS entrance, with the certificates of the table in this folder."""
        self.certificates = Certificates(files / "certificates", self._certificate, PROTOCOLS, kept)
        self.secure_entrance = Entrance(self.shared, SECURE_PORT, self.certificates)

    def _certificate(self, name: str) -> str | None:
        return self.shared.table.certificate(name)

    def _connect(self, backend: Backend) -> BackendConnection:
        fd = self._dial(backend)
        connection = BackendConnection(self.shared, fd, backend)
        self.dialled.append(self.probes.pop())
        if backend.id in self.silent:
            self.shared.loop.epoll.modify(fd, 0)
        return connection

    def _dial(self, backend: Backend) -> int:
        if backend.id in self.refusing:
            raise OSError(self.refusing[backend.id], "refused")
        end, fd = self._pair()
        end.backend = backend.id
        self.probes.append(end)
        return fd

    def _sockets(self) -> tuple[socket.socket, int]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        return ours, theirs.detach()

    def _pair(self) -> tuple[End, int]:
        ours, fd = self._sockets()
        end = End(self, ours)
        self.ends.append(end)
        return end, fd

    def run(self) -> None:
        """Handle events until there are none."""
        loop = self.shared.loop
        for _ in range(10_000):
            before = loop.epoll.poll(0, 1)
            loop.step(0)
            if not before:
                return
        raise AssertionError("the router does not come to rest")

    def advance(self, seconds: float) -> None:
        """Let time pass, a second at a time."""
        while seconds > 0:
            self.now += min(1.0, seconds)
            seconds -= 1.0
            self.run()

    @property
    def backend(self) -> End:
        """The newest connection to a backend."""
        return self.dialled[-1]

    def log(self) -> list[Any]:
        """Entries of the access log since the last call."""
        entries = [Logged(*entry) for entry in self.shared.access.entries]
        self.shared.access.entries.clear()
        return entries

    def close(self) -> None:
        for end in self.ends:
            end.sock.close()
        with contextlib.suppress(AssertionError):
            self.run()
        self.shared.loop.epoll.close()


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


REFUSED = errno.ECONNREFUSED

_VARYING = re.compile(
    rb"(X-Request-Start: )\d{13}|(X-Request-Id: )[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}"
)


def settle(head: bytes) -> bytes:
    """Bytes at the backend with what differs from request to request replaced: milliseconds, generated ids."""
    return _VARYING.sub(lambda match: (match[1] or match[2]) + (b"MS" if match[1] else b"ID"), head)

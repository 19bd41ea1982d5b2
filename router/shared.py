"""The state of one worker: the table, the backends by id, the line caches, the clients, the log; and its clock ticks."""

from __future__ import annotations

import errno
import heapq
import os
import socket
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from time import monotonic
from typing import Any, Final

from router.back.connection import BackendConnection
from router.back.health import Health
from router.io.loop import Loop, report_bug
from router.io.stream import Stream
from router.middle.bulk import Pipes
from router.middle.gate import Gate
from router.middle.squeeze import PIECES_A_TURN
from router.report.access import AccessLog
from router.report.metrics import Metrics
from router.rules.pages import Pages
from router.rules.pieces import Pieces, at_once
from router.rules.policy import Policy
from router.rules.route import Backend
from router.rules.table import RouteTable
from router.rules.tablefile import Draft, read, read_generation
from router.wire import request, response

WORK_S: Final = 0.002
"""How much of each turn of the loop may go into work that can be interrupted."""

MOMENT_S: Final = 1.0
FEW_IDLE: Final = 64
_LOW: Final = [b"%03x" % number for number in range(4096)]


@dataclass
class Limits:
    """Times in seconds, sizes in bytes."""

    connect_s: float = 5.0
    first_byte_s: float = 30.0
    rolling_s: float = 55.0
    head_s: float = 10.0
    keep_alive_s: float = 60.0
    pool_idle_s: float = 4.0
    """Below the keep-alive time of common servers (5 s), so that we close first."""
    fresh_s: float = 1.0
    """A request that must not be sent twice gets no pooled connection that has idled longer."""
    eject_s: float = 5.0
    linger_s: float = 2.0
    drain_s: float = 30.0
    body_grace_s: float = 30.0
    body_bytes_per_s: int = 128
    """A request body that is slower on average, after the grace, is given up."""


def request_ids(seed: str) -> Iterator[bytes]:
    """Request ids in the form of UUIDs: random by the 40 hex digits of the seed, counted within."""
    prefix = f"{seed[:8]}-{seed[8:12]}-4{seed[12:15]}-a{seed[15:18]}-".encode()
    high = int(seed[18:27], 16)
    while True:
        block = b"%b%09x" % (prefix, high)
        for low in _LOW:
            yield block + low
        high = (high + 1) & 0xFFFFFFFFF


class StaleTable(Exception):
    """A table older than the one in force was offered."""


class Proxy:
    """What all connections of a worker share."""

    def __init__(
        self,
        *,
        worker: int = 0,
        log_dir: Path | None = None,
        templates: Path | None = None,
        files: Path | None = None,
        limits: Limits | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.worker = worker
        self.pid = os.getpid()
        self.limits = limits or Limits()
        self.loop = Loop(self.tick, clock=clock)
        self.loop.busy = self.busy
        self.table = RouteTable()
        self.backends: dict[str, Backend] = {}
        """Backends of the table, and removed ones that still have requests."""
        self.requests = request.reader()
        self.trusted_requests = request.reader(trusted=True)
        self.trusted: tuple[IPv4Network | IPv6Network, ...] = ()
        """Where clients are proxies whose X-Forwarded-Proto, -Port and -Host are believed."""
        self.responses = response.reader()
        self.status_lines = response.status_lines()
        self.pages = Pages(templates, files)
        self.metrics = Metrics()
        self.access = AccessLog(log_dir, worker, self.metrics)
        self.loop.chores = self.access.entries
        self.loop.on_spare = self.access.format_some
        self.loop.on_due = self.access.flush
        self.gates: dict[str, Gate] = {}
        """By app."""
        self.pipes = Pipes()
        self.clients: set[Stream] = set()
        self.draining = False
        self.drain_ends = 0.0
        self.on_tick: list[Callable[[float], None]] = []
        """Called by the next ticks; the loop does not sleep while there are any."""
        self.on_event: Callable[[dict[str, Any]], None] = lambda event: None
        """Told of `drained` and `refused` backends."""
        self.connect: Callable[[Backend], BackendConnection] = self._connect
        """Begins to connect. Raises OSError when that fails at once."""
        self.dial: Callable[[Backend], int] = self._dial
        """Gives a descriptor that is being connected to the backend. Raises OSError."""
        self.health = Health(self)
        self._room_made = self._crowded_until = 0.0
        self._pieces = 0
        self._tired: deque[BackendConnection] = deque()
        self._work: deque[Generator[None, None, None]] = deque()
        self._stamped = 0.0
        self._stamp = b""
        self.new_id: Callable[[], bytes] = request_ids(os.urandom(20).hex()).__next__

    def trusts(self, address: bytes) -> bool:
        """Whether a client at this address is a proxy that is believed."""
        if not self.trusted:
            return False
        client = ip_address(address.decode())
        return any(client in network for network in self.trusted)

    def wall_ms(self) -> bytes:
        """Unix time in milliseconds, as it is written into heads; the same within a batch of events."""
        if self._stamped != self.loop.now:
            self._stamped = self.loop.now
            self._stamp = b"%d" % (self.loop.wall * 1000)
        return self._stamp

    def _connect(self, backend: Backend) -> BackendConnection:
        return BackendConnection(self, self.dial(backend), backend)

    def _dial(self, backend: Backend) -> int:
        family = socket.AF_INET6 if ":" in backend.address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        number = sock.connect_ex((backend.address, backend.port))
        if number not in (0, errno.EINPROGRESS):
            sock.close()
            raise OSError(number, os.strerror(number))
        return sock.detach()

    # the table

    def set_table(self, document: Any) -> int:
        """Put a table in force at once; returns its generation. Raises TableError, StaleTable."""
        self.put_in_force(at_once(self.read_table(document)))
        return self.table.generation

    def read_table(self, document: Any) -> Pieces[Draft]:
        """The table of a document, to be put in force. Raises TableError, StaleTable."""
        generation = read_generation(document)
        if generation < self.table.generation:
            raise StaleTable(f"generation {generation} is older than {self.table.generation}")
        return (yield from read(document, self.backends, self._gate_of, self.table))

    def _gate_of(self, app: str) -> Gate:
        return self.gates.get(app) or Gate()

    def put_in_force(self, draft: Draft) -> RouteTable:
        """Serve by this table from now on; returns the one before."""
        table, previous, before = draft.table, self.table, self.backends
        draft.settle(self.loop.now)
        self.table = table
        self.backends = dict(table.backends)
        for backend in before.values():
            if self.backends.get(backend.id) is not backend:
                told = backend.draining and not backend.inflight
                backend.draining = True
                if backend.inflight:
                    self.backends.setdefault(backend.id, backend)
                if not told:
                    self.drain(backend)
        for backend in table.backends.values():
            if backend.draining:
                self.drain(backend)
        self._set_gates(draft.gates)
        self.metrics.keep(draft.apps)
        self.requests.expect(len(table.hosts))
        self.trusted_requests.expect(len(table.hosts))
        self.health.rule(table)
        return previous

    def _set_gates(self, ruled: dict[str, tuple[Gate, Policy]]) -> None:
        """Each app whose policy may make requests wait has a gate, which lives on while it is used."""
        for app, (gate, policy) in ruled.items():
            self.gates[app] = gate
            gate.rule(policy)
        for app, gate in list(self.gates.items()):
            if app not in ruled:
                gate.rule(None)
            gate.open()
            if app not in ruled and not gate.inside:
                del self.gates[app]

    def drain(self, backend: Backend) -> None:
        """Close what is idle, and tell at once when nothing is in flight."""
        for connection in backend.idle:
            connection.close()
        backend.idle.clear()
        if not backend.inflight:
            self.drained(backend)

    def drained(self, backend: Backend) -> None:
        """A draining backend has no request left."""
        if self.table.backends.get(backend.id, backend) is not backend:
            return  # the id lives on at another address
        if backend.id not in self.table.backends:
            self.backends.pop(backend.id, None)
        self.on_event({"event": "drained", "id": backend.id})

    def eject(self, backend: Backend) -> None:
        """The backend refused a connection: it sits out for a while."""
        backend.failures += 1
        out = backend.ejected_until > self.loop.now
        backend.ejected_until = self.loop.now + self.limits.eject_s
        self.metrics.ejections += 1
        if not out:  # among many apps looking for its pools takes long
            self.refresh(backend)
        self.on_event({"event": "refused", "id": backend.id})

    def refresh(self, backend: Backend) -> None:
        """Whether the backend should get requests has changed: see which its pools may choose from."""
        for pool in self.table.pools.values():
            if backend in pool.backends:
                pool.refresh(self.loop.now)

    def make_room(self) -> bool:
        """Close the clients' connections that have been idle longest; False when none has been for a moment, which is not
        looked for again before the next."""
        now = self.loop.now
        if now == self._room_made or now < self._crowded_until:
            return now == self._room_made  # descriptors come free when a batch of events is through
        idle = [
            (since, id(c), c) for c in self.clients if 0.0 < (since := c.resting_since()) <= now - MOMENT_S
        ]
        if not idle:
            self._crowded_until = now + MOMENT_S
            return False
        self._room_made = now
        for _, _, client in heapq.nsmallest(max(FEW_IDLE, len(idle) // 32), idle):
            client.give_up()
            self.metrics.given_up += 1
        return True

    # time

    def busy(self) -> bool:
        """Whether anything has to be looked at without an event."""
        return bool(self.clients or self.access.pending or self.draining or self.on_tick) or any(
            b.idle or b.ejected_until for b in self.backends.values()
        )

    def worked(self, connection: BackendConnection) -> None:
        """A piece of a body was compressed. After some in one turn of the loop the connection is not read until others
        have had theirs, so that nobody waits long for a turn."""
        self._pieces += 1
        self.loop.relief = self.relieve
        if self._pieces > PIECES_A_TURN:
            connection.pause()
            self._tired.append(connection)

    def later(self, work: Generator[None, None, None]) -> None:
        """Do this a little in each turn of the loop, after what was given before."""
        self._work.append(work)
        self.loop.relief = self.relieve

    def give_up(self) -> None:
        """Do no more of what was left for later."""
        while self._work:
            self._work.popleft().close()

    def relieve(self) -> bool:
        """A turn is over: read some of those again that were set aside, go on with the work; whether there is more."""
        self._pieces = 0
        if self._work:
            self._go_on(self._work[0])
        for _ in range(min(PIECES_A_TURN, len(self._tired))):
            connection = self._tired.popleft()
            if connection.fd >= 0 and connection.exchange is not None and not connection.exchange.client.out:
                connection.resume()
        if not (self._tired or self._work):
            self.loop.relief = None
            return False
        return True

    def _go_on(self, work: Generator[None, None, None]) -> None:
        clock = self.loop.clock
        until = clock() + WORK_S
        try:
            next(work)
            while clock() < until:
                next(work)
        except StopIteration:
            self._work.popleft()
        except Exception:
            self._work.popleft()
            report_bug()

    def tick(self, now: float) -> None:
        """Once a second: time limits of clients, age of pooled connections, the end of ejections, of draining."""
        for client in list(self.clients):
            client.check(now)
        oldest = now - self.limits.pool_idle_s
        for backend in self.backends.values():
            while backend.idle and backend.idle[0].idle_since < oldest:
                backend.idle.pop(0).close()
            if backend.ejected_until and backend.ejected_until <= now:
                backend.ejected_until = 0.0
                self.refresh(backend)
        for call in list(self.on_tick):
            call(now)
        if self.draining:
            self._check_drain(now)

    def start_drain(self) -> None:
        """Accept no more (the worker has closed its listeners), finish what runs, then stop the loop."""
        if not self.draining:
            self.draining = True
            self.drain_ends = self.loop.now + self.limits.drain_s
            for client in self.clients:
                exchange = getattr(client, "exchange", None)
                if exchange is not None:
                    exchange.ordinary = False  # its answer says that the connection will be closed

    def _check_drain(self, now: float) -> None:
        if now >= self.drain_ends:
            for client in list(self.clients):
                client.abort()
        if not self.clients:
            self.loop.stopped = True

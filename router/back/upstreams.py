"""The backends of a worker: their pooled connections, ejection and draining; and putting tables in force."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any

from router.back.connection import BackendConnection
from router.back.health import HealthChecks
from router.middle.squeeze import CompressionTurns
from router.rules.gate import Gate
from router.rules.pieces import Pieces, at_once
from router.rules.policy import Policy
from router.rules.route import Backend
from router.rules.table import RouteTable
from router.rules.tablefile import Draft, read, read_generation
from router.shared import Connector, Shared


class StaleTable(Exception):
    """A table older than the one in force was offered."""


class Upstreams(Connector):
    """The backends' side of one worker."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.dial: Callable[[Backend], int] = dial
        self.open: Callable[[Backend], BackendConnection] = self._open
        """Begins to connect. Raises OSError when that fails at once."""
        self.health = HealthChecks(shared, lambda backend: self.dial(backend), self.refresh)
        self._turns = CompressionTurns(shared.loop)
        shared.upstreams = self

    # connections

    def connect(self, backend: Backend, exchange: Any, *, fresh: bool, repeatable: bool) -> BackendConnection:
        connection: BackendConnection
        if backend.idle and not fresh:
            connection = backend.idle.pop()
            if repeatable or self.shared.loop.now - connection.idle_since <= self.shared.limits.fresh_s:
                connection.exchange = exchange
                return connection
            connection.close()
        connection = self.open(backend)
        connection.exchange = exchange
        return connection

    def _open(self, backend: Backend) -> BackendConnection:
        return BackendConnection(self.shared, self.dial(backend), backend)

    def close_idle(self, now: float) -> None:
        """Close connections that have been idle too long, and end ejections whose time is over."""
        oldest = now - self.shared.limits.pool_idle_s
        for backend in self.shared.backends.values():
            while backend.idle and backend.idle[0].idle_since < oldest:
                backend.idle.pop(0).close()
            if backend.ejected_until and backend.ejected_until <= now:
                backend.ejected_until = 0.0
                self.refresh(backend)

    def compressed(self, upstream: BackendConnection) -> None:
        self._turns.count(upstream)

    # which backends get requests

    def eject(self, backend: Backend) -> None:
        backend.failures += 1
        out = backend.ejected_until > self.shared.loop.now
        backend.ejected_until = self.shared.loop.now + self.shared.limits.eject_s
        self.shared.metrics.ejections += 1
        if not out:  # among many apps looking for its pools takes long
            self.refresh(backend)
        self.shared.on_event({"event": "refused", "id": backend.id})

    def refresh(self, backend: Backend) -> None:
        """The state of the backend has changed: compute again which backends its pools may choose."""
        for pool in self.shared.table.pools.values():
            if backend in pool.backends:
                pool.refresh(self.shared.loop.now)

    def drain(self, backend: Backend) -> None:
        """Close idle connections; publish `drained` at once when no request is in flight."""
        for connection in backend.idle:
            connection.close()
        backend.idle.clear()
        if not backend.inflight:
            self.drained(backend)

    def drained(self, backend: Backend) -> None:
        if self.shared.table.backends.get(backend.id, backend) is not backend:
            return  # the id lives on at another address
        if backend.id not in self.shared.table.backends:
            self.shared.backends.pop(backend.id, None)
        self.shared.on_event({"event": "drained", "id": backend.id})

    # the table

    def set_table(self, document: Any) -> int:
        """Put a table in force at once; returns its generation. Raises TableError, StaleTable."""
        self.put_in_force(at_once(self.read_table(document)))
        return self.shared.table.generation

    def read_table(self, document: Any) -> Pieces[Draft]:
        """The table of a document, to be put in force. Raises TableError, StaleTable."""
        generation = read_generation(document)
        if generation < self.shared.table.generation:
            raise StaleTable(f"generation {generation} is older than {self.shared.table.generation}")
        return (yield from read(document, self.shared.backends, self._gate_of, self.shared.table))

    def _gate_of(self, app: str) -> Gate:
        return self.shared.gates.get(app) or Gate()

    def put_in_force(self, draft: Draft) -> RouteTable:
        """Serve by this table from now on; returns the one before."""
        shared, table = self.shared, draft.table
        previous, before = shared.table, shared.backends
        draft.settle(shared.loop.now)
        shared.table = table
        shared.backends = dict(table.backends)
        for backend in before.values():
            if shared.backends.get(backend.id) is not backend:
                published = backend.draining and not backend.inflight
                backend.draining = True
                if backend.inflight:
                    shared.backends.setdefault(backend.id, backend)
                if not published:
                    self.drain(backend)
        for backend in table.backends.values():
            if backend.draining:
                self.drain(backend)
        self._set_gates(draft.gates)
        shared.metrics.keep(draft.apps)
        shared.requests.expect(len(table.hosts))
        shared.trusted_requests.expect(len(table.hosts))
        self.health.rule(table)
        return previous

    def _set_gates(self, ruled: dict[str, tuple[Gate, Policy]]) -> None:
        """Each app whose policy may make requests wait has a gate, which lives on while it is used."""
        for app, (gate, policy) in ruled.items():
            self.shared.gates[app] = gate
            gate.rule(policy)
        for app, gate in list(self.shared.gates.items()):
            if app not in ruled:
                gate.rule(None)
            gate.open()
            if app not in ruled and not gate.inside:
                del self.shared.gates[app]


def dial(backend: Backend) -> int:
    """A descriptor that is being connected to the backend. Raises OSError."""
    family = socket.AF_INET6 if ":" in backend.address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    number = sock.connect_ex((backend.address, backend.port))
    if number not in (0, errno.EINPROGRESS):
        sock.close()
        raise OSError(number, os.strerror(number))
    return sock.detach()

"""One worker process: listeners, control socket, signals, and the loop until it has drained."""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import socket
import sys
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

from router.back.upstreams import StaleTable, Upstreams
from router.control import ControlServer, load_table
from router.front.client_limits import ClientLimit, IdleEviction
from router.front.entrance import PROTOCOLS, Entrance
from router.front.listener import Listener
from router.io.certificates import Certificates, be_quiet
from router.io.tickets import Tickets
from router.rules.pieces import Pieces, load, release
from router.rules.tablefile import TableError
from router.shared import Limits, Shared
from router.upkeep import Upkeep


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a worker. It starts with `table`, or else with the table in `table_file`; with `keep_table`, each
    table that is put in force is written to that file."""

    number: int = 0
    control: Path | None = None
    table_file: Path | None = None
    keep_table: bool = False
    table: Any = None
    log_dir: Path | None = None
    templates: Path | None = None
    files: Path | None = None
    limits: Limits = field(default_factory=Limits)
    trusted: tuple[IPv4Network | IPv6Network, ...] = ()
    proxied: tuple[IPv4Network | IPv6Network, ...] = ()
    client_connections: int = 0


class Worker:
    """Connects the parts of the router with each other, with the listeners and with the control socket. SIGTERM drains,
    a second one ends at once; SIGHUP reads the table's file again."""

    def __init__(
        self, settings: Settings, listeners: list[socket.socket], tls_listeners: list[socket.socket]
    ) -> None:
        raise_descriptor_limit()
        self.shared = shared = Shared(
            worker=settings.number, log_dir=settings.log_dir, templates=settings.templates,
            files=settings.files, limits=settings.limits,
        )  # fmt: skip
        shared.trusted = settings.trusted
        self._table_file = settings.table_file
        self._upstreams = Upstreams(shared)
        self._upkeep = Upkeep(shared, self._upstreams)
        kept = settings.table_file if settings.keep_table else None
        self.control = ControlServer(shared, self._upstreams, settings.control, kept, self.drain)
        self._load(settings)
        self.listeners: list[Listener] = []
        self._listen(settings, listeners, tls_listeners)

    def _load(self, settings: Settings) -> None:
        table = settings.table
        if table is None and settings.table_file is not None:
            table = load_table(settings.table_file)
        if table is not None:
            try:
                self._upstreams.set_table(table)
            except (TableError, StaleTable) as error:
                _refuse(error)

    def _listen(
        self, settings: Settings, listeners: list[socket.socket], tls_listeners: list[socket.socket]
    ) -> None:
        shared, files, control = self.shared, settings.files, settings.control
        limit, eviction = ClientLimit(settings.client_connections), IdleEviction(shared)
        if limit.limit:
            shared.loop.close_descriptor = limit.close

        def entrance(sock: socket.socket, certificates: Certificates | None = None) -> Entrance:
            return Entrance(shared, sock.getsockname()[1], certificates, settings.proxied, limit)

        self.listeners += [Listener(entrance(sock), sock, eviction) for sock in listeners]
        if tls_listeners and files is not None:
            sys.unraisablehook = be_quiet
            certificates = Certificates(files / "certificates", self._certificate, PROTOCOLS)
            tickets = Tickets(certificates.base, control / "tickets.key") if control is not None else None
            self.listeners += [
                Listener(entrance(sock, certificates), sock, eviction, tickets) for sock in tls_listeners
            ]

    def _certificate(self, name: str) -> str | None:
        return self.shared.table.certificate(name)

    def reload(self) -> None:
        """Put the table that the file holds now in force, if it is one."""
        if self._table_file is not None:
            self.shared.later.add(self._reload(self._table_file))

    def _reload(self, path: Path) -> Pieces[None]:
        try:
            document = yield from load(path.read_text(encoding="utf-8"))
            draft = yield from self._upstreams.read_table(document)
        except (OSError, ValueError, RecursionError, StaleTable) as error:
            _refuse(error)
            return
        previous = self._upstreams.put_in_force(draft)
        yield from release(document, previous.hosts, previous.certificates)

    def drain(self) -> None:
        """Accept no more; finish what runs; end."""
        for listener in self.listeners:
            listener.close()
        self.listeners.clear()
        self._upkeep.start_drain()

    def run(self) -> None:
        """Serve until drained."""
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        self.shared.loop.add(reading, _Signals(self, reading))
        gc.collect()
        gc.freeze()
        gc.set_threshold(5_000, 3, 3_000)  # a large table is many objects: small passes, and seldom all
        try:
            self.shared.loop.run()
        finally:
            self.shared.access.close()
            self.control.close()
            signal.set_wakeup_fd(-1)


def _refuse(error: Exception) -> None:
    """Print a line for the operator about a table that is refused."""
    print(f"router event=bad-table error={json.dumps(str(error))}", file=sys.stderr, flush=True)


class _Signals:
    """Signal numbers as bytes of a pipe: they are handled like any other event."""

    def __init__(self, worker: Worker, fd: int) -> None:
        self._worker = worker
        self._fd = fd

    def readable(self) -> None:
        for number in os.read(self._fd, 64):
            if number in (signal.SIGTERM, signal.SIGINT):
                if self._worker.shared.draining:
                    self._worker.shared.loop.stopped = True
                else:
                    self._worker.drain()
            elif number == signal.SIGHUP:
                self._worker.reload()

    def event(self, mask: int) -> None:
        self.readable()

    def abort(self) -> None: ...


def raise_descriptor_limit() -> None:
    """Raise the limit of open descriptors to the hard limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def listen(host: str, port: int, *, backlog: int = 4096) -> socket.socket:
    """A listening TCP socket that several workers can have one each of (SO_REUSEPORT)."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((host, port))
    sock.listen(backlog)
    return sock

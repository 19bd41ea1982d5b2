"""One worker process: listeners, control socket, signals, and the loop until it has drained."""

from __future__ import annotations

import errno
import gc
import json
import os
import resource
import signal
import socket
import sys
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Final

from router.control import ControlServer, load_table
from router.front.entrance import PROTOCOLS, Entrance, Guests
from router.io.certificates import Certificates, be_quiet
from router.io.tickets import Tickets
from router.rules.pieces import Pieces, load, release
from router.rules.tablefile import TableError
from router.shared import Limits, Proxy, StaleTable

ACCEPT_BATCH: Final = 64
RESERVED_FDS: Final = 512


class Listener:
    """Accepts clients while there are descriptors for them. When these run out idle connections are given up, and where
    there is none it pauses for a tick."""

    def __init__(self, entrance: Entrance, sock: socket.socket, tickets: Tickets | None = None) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it
        self.proxy = proxy = entrance.proxy
        self.entrance = entrance
        self.tickets = tickets
        self.socket = sock
        self.paused = False
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._limit = max(64, soft - RESERVED_FDS if soft > 2 * RESERVED_FDS else soft // 2)
        proxy.loop.add(sock.fileno(), self)

    def readable(self) -> None:
        if self.tickets is not None:
            self.tickets.refresh(self.proxy.loop.now, self.proxy.loop.wall)
        for _ in range(ACCEPT_BATCH):
            if not self._accept():
                return

    def _accept(self) -> bool:
        """Take one client; False when there is none, or no place for one."""
        proxy = self.proxy
        if len(proxy.clients) >= self._limit and not proxy.make_room():
            self._pause("limit")
            return False
        try:
            fd, address = self.socket._accept()  # type: ignore[attr-defined]  # accept() would make a socket object
        except (BlockingIOError, InterruptedError):
            return False
        except ConnectionAbortedError:
            return True
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                raise
            if not proxy.make_room():
                self._pause(errno.errorcode[error.errno])
            return False  # the descriptors are free when this batch of events is through
        if fd >= self._limit:  # the lowest that is free: instances take the others
            proxy.make_room()
        os.set_blocking(fd, False)
        if not self.entrance.accept(fd, address[0].removeprefix("::ffff:").encode()):
            os.close(fd)
        return True

    def event(self, mask: int) -> None:
        self.readable()

    def abort(self) -> None:
        """A bug in accepting one connection must not end the listener."""

    def _pause(self, why: str) -> None:
        print(
            f"router event=accept-paused reason={why} clients={len(self.proxy.clients)}",
            file=sys.stderr,
            flush=True,
        )
        self.paused = True
        self.proxy.loop.remove(self.socket.fileno())
        self.proxy.on_tick.append(self._resume)

    def _resume(self, now: float) -> None:
        self.paused = False
        self.proxy.on_tick.remove(self._resume)
        self.proxy.loop.add(self.socket.fileno(), self)

    def close(self) -> None:
        """Take who waits already, then listen no more: the kernel would reset them."""
        while not self.paused and self._accept():
            pass
        if self.paused:
            self.proxy.on_tick.remove(self._resume)
        else:
            self.proxy.loop.remove(self.socket.fileno())
        self.socket.close()


class Worker:
    """Wires a Proxy to the world. SIGTERM drains, a second one ends at once; SIGHUP reads the table's file again."""

    def __init__(
        self,
        *,
        listeners: list[socket.socket],
        number: int = 0,
        control: Path | None = None,
        table_file: Path | None = None,
        keep_table: bool = False,
        table: Any = None,
        log_dir: Path | None = None,
        templates: Path | None = None,
        limits: Limits | None = None,
        trusted: tuple[IPv4Network | IPv6Network, ...] = (),
        files: Path | None = None,
        tls_listeners: list[socket.socket] | None = None,
        proxied: tuple[IPv4Network | IPv6Network, ...] = (),
        client_connections: int = 0,
    ) -> None:
        raise_descriptor_limit()
        self.proxy = Proxy(worker=number, log_dir=log_dir, templates=templates, files=files, limits=limits)
        self.proxy.trusted = trusted
        self.control = ControlServer(self.proxy, control, table_file if keep_table else None, self.drain)
        self._table_file = table_file
        if table is None and table_file is not None:
            table = load_table(table_file)
        if table is not None:
            self._load(table)
        self._proxied = proxied
        self._guests = Guests(client_connections)
        if client_connections:
            self.proxy.loop.close_descriptor = self._guests.close
        self.listeners = [Listener(self._entrance(sock), sock) for sock in listeners]
        if tls_listeners and files is not None:
            sys.unraisablehook = be_quiet
            certificates = Certificates(files / "certificates", self._certificate, PROTOCOLS)
            tickets = Tickets(certificates.base, control / "tickets.key") if control is not None else None
            self.listeners += [
                Listener(self._entrance(sock, certificates), sock, tickets) for sock in tls_listeners
            ]

    def _certificate(self, name: str) -> str | None:
        return self.proxy.table.certificate(name)

    def _entrance(self, sock: socket.socket, certificates: Certificates | None = None) -> Entrance:
        return Entrance(self.proxy, sock.getsockname()[1], certificates, self._proxied, self._guests)

    def reload(self) -> None:
        """Put the table that the file holds now in force, if it is one."""
        if self._table_file is not None:
            self.proxy.later(self._reload(self._table_file))

    def _reload(self, path: Path) -> Pieces[None]:
        try:
            document = yield from load(path.read_text(encoding="utf-8"))
            draft = yield from self.proxy.read_table(document)
        except (OSError, ValueError, RecursionError, StaleTable) as error:
            _refuse(error)
            return
        previous = self.proxy.put_in_force(draft)
        yield from release(document, previous.hosts, previous.certificates)

    def _load(self, table: Any) -> None:
        try:
            self.proxy.set_table(table)
        except (TableError, StaleTable) as error:
            _refuse(error)

    def drain(self) -> None:
        """Accept no more; finish what runs; end."""
        for listener in self.listeners:
            listener.close()
        self.listeners.clear()
        self.proxy.start_drain()

    def run(self) -> None:
        """Serve until drained."""
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        self.proxy.loop.add(reading, _Signals(self, reading))
        gc.collect()
        gc.freeze()
        gc.set_threshold(5_000, 3, 3_000)  # a large table is many objects: small passes, and seldom all
        try:
            self.proxy.loop.run()
        finally:
            self.proxy.access.close()
            self.control.close()
            signal.set_wakeup_fd(-1)


def _refuse(error: Exception) -> None:
    """A line for the operator about a table that is not taken."""
    print(f"router event=bad-table error={json.dumps(str(error))}", file=sys.stderr, flush=True)


class _Signals:
    """Signal numbers as bytes of a pipe: they are handled like any other event."""

    def __init__(self, worker: Worker, fd: int) -> None:
        self._worker = worker
        self._fd = fd

    def readable(self) -> None:
        for number in os.read(self._fd, 64):
            if number in (signal.SIGTERM, signal.SIGINT):
                if self._worker.proxy.draining:
                    self._worker.proxy.loop.stopped = True
                else:
                    self._worker.drain()
            elif number == signal.SIGHUP:
                self._worker.reload()

    def event(self, mask: int) -> None:
        self.readable()

    def abort(self) -> None: ...


def raise_descriptor_limit() -> None:
    """As many descriptors as the hard limit allows."""
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

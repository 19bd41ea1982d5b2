"""All that is overridden of gunicorn, private members included: its threaded worker with own pools and bounds.

`tests/unit/paas/api/test_gunicorn_worker.py` fails when a member that is used here changes its shape; pyproject.toml
therefore bounds the version above.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.workers.gthread import TConn, ThreadWorker

from paas.api.limiter import LOCAL_THREADS, REMOTE_THREADS, ROOT_THREADS
from runtime.kernel.process import peer_uid

MOST_CONNECTIONS = 500
MOST_STRANGERS = 300
"""Connections from the network and from other users of the machine: the rest is kept for the platform's own."""

_SLOW_CLIENT_S = 20
_HEAD_S = 10.0
_UNREAD_S = 0.2
_GOODBYE_S, _GOODBYE_BYTES = 0.5, 1 << 21


def run(app: Flask, listeners: list[socket.socket], known: frozenset[int]) -> None:
    """Serve `app` in this process until SIGTERM, or until the parent is gone. `known` are the uids of the platform."""
    application = _Application(app)
    log = application.cfg.logger_class(application.cfg)
    logging.getLogger("gunicorn.error").addFilter(_is_worth_a_line)
    worker = Worker(1, os.getppid(), listeners, application, 0, application.cfg, log)
    worker.known = known
    worker.init_process()


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """A client that was too slow is no event for the operator."""
    return not (record.exc_info and isinstance(record.exc_info[1], BlockingIOError))


class _Application(BaseApplication):  # type: ignore[misc]
    """gunicorn's settings, and the application it is to serve."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        super().__init__()

    def load_config(self) -> None:
        chosen: dict[str, Any] = {
            "worker_class": "gthread",
            "threads": LOCAL_THREADS,
            "worker_connections": MOST_CONNECTIONS,
            "keepalive": 5,
            "graceful_timeout": 2,
            "limit_request_fields": 50,
            "limit_request_field_size": 4096,
            "forwarded_allow_ips": "",
            "control_socket_disable": True,
            "loglevel": "warning",
            "umask": 0o007,
        }
        for name, value in chosen.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return self._app


class Worker(ThreadWorker):  # type: ignore[misc]
    """The threaded worker with a pool of threads each for the platform's users, root and strangers.

    A stranger is a client over TCP, or over the unix socket with a uid that is not in `known`. Strangers may be hostile
    and many, so their connections are bounded in number and time.
    """

    known: frozenset[int] = frozenset()

    def init_process(self) -> None:
        self._remote = ThreadPoolExecutor(REMOTE_THREADS, "remote")
        self._root = ThreadPoolExecutor(ROOT_THREADS, "root")
        self._strangers: set[TConn] = set()
        self._heads: dict[TConn, float] = {}
        """Connections that have sent no complete request head, with its deadline (monotonic seconds)."""
        super().init_process()

    def get_thread_pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(LOCAL_THREADS, "local")

    def enqueue_req(self, conn: TConn) -> None:
        pool = self._pool(conn)
        if pool is None:
            conn.close()
            self.nr_conns -= 1
            return
        future = pool.submit(self.handle, conn)
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))

    def _pool(self, conn: TConn) -> ThreadPoolExecutor | None:
        """The threads that serve the connection; None when it is one stranger too many."""
        if conn in self._strangers:
            return self._remote
        uid = peer_uid(conn.sock) if conn.sock.family == socket.AF_UNIX else None
        if uid in self.known:
            return self._root if uid == 0 else cast(ThreadPoolExecutor, self.tpool)
        return self._remote if self._admit(conn) else None

    def _admit(self, conn: TConn) -> bool:
        """Let a new stranger in, unless there are too many."""
        self._strangers = {one for one in self._strangers if one.sock.fileno() >= 0}
        if len(self._strangers) >= MOST_STRANGERS:
            return False
        self._strangers.add(conn)
        _give_up_on_slow_clients(conn.sock)
        return True

    def handle(self, conn: TConn) -> Any:
        if conn in self._strangers:
            self._heads[conn] = time.monotonic() + _HEAD_S
        try:
            result = super().handle(conn)
        finally:
            self._heads.pop(conn, None)
        if result is False:
            _say_goodbye(conn.sock)
        return result

    def handle_request(self, req: Any, conn: TConn) -> Any:
        self._heads.pop(conn, None)
        return super().handle_request(req, conn)

    def _keepalive_after(self, conn: TConn, keepalive: Any) -> bool:
        """Wait for the rest of an unread body, of a refused request say, much shorter than gunicorn does."""
        return bool(keepalive and conn.parser.finish_body(deadline=time.monotonic() + _UNREAD_S))

    def notify(self) -> None:
        """Called by the loop at least once a second: close connections with an overdue request head."""
        super().notify()
        now = time.monotonic()
        for conn, deadline in list(self._heads.items()):
            if now > deadline:
                with contextlib.suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RDWR)


def _say_goodbye(sock: socket.socket) -> None:
    """End a connection as RFC 9112, section 9.6, wants it: here in a thread, for the loop would wait for each client.

    What the client still sends is read for a moment; afterwards the loop, which does the same, finds nothing to wait for.
    """
    deadline, left = time.monotonic() + _GOODBYE_S, _GOODBYE_BYTES
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
        while left > 0 and (remaining := deadline - time.monotonic()) > 0:
            sock.settimeout(remaining)
            if not (data := sock.recv(65536)):
                break
            left -= len(data)
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RD)


def _give_up_on_slow_clients(sock: socket.socket) -> None:
    """Neither a half-sent request, nor an unread answer, nor a vanished host holds a thread for long (socket(7))."""
    timeout = struct.pack("ll", _SLOW_CLIENT_S, 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _SLOW_CLIENT_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _SLOW_CLIENT_S)

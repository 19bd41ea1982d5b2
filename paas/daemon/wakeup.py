"""Wake-ups for code that waits until rows change: each waiter has a socket, and the loop sends an empty datagram to all.

A lost one is harmless: a waiter reads the rows once a second anyway. The sockets lie in a folder that only the
control plane's user can enter.
"""

from __future__ import annotations

import os
import secrets
import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from runtime.home import Layout

LOOK_S = 1.0
"""A waiter reads the rows this often even if nothing wakes it."""
CANCEL_LOOK_S = 0.1
"""How often a waiter checks whether it is cancelled; without a socket, how long it sleeps."""


class Waiter:
    """Waits until rows change. A context manager: its socket is removed at the end."""

    def __init__(self, layout: Layout) -> None:
        self._path = _folder(layout) / secrets.token_hex(8)
        self._sock: socket.socket | None = None

    def __enter__(self) -> Waiter:
        sock = _datagram_socket()
        try:
            sock.bind(str(self._path))
            self._sock = sock
        except OSError:  # no loop has run yet, or the disk is full: read the rows more often instead
            sock.close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._sock is not None:
            self._path.unlink(missing_ok=True)
            self._sock.close()

    def wait(self, cancelled: Callable[[], bool]) -> None:
        """Return after the loop's next action, when `cancelled` changes, or after `LOOK_S`."""
        if self._sock is None:
            time.sleep(CANCEL_LOOK_S)
            return
        deadline, before = time.monotonic() + LOOK_S, cancelled()
        poller = select.poll()
        poller.register(self._sock, select.POLLIN)
        while (left := deadline - time.monotonic()) > 0 and cancelled() == before:
            if poller.poll(1000 * min(left, CANCEL_LOOK_S)):
                with suppress(BlockingIOError):
                    while True:
                        self._sock.recv(1)
                return


class Waker:
    """The loop's side: `wake` reaches every waiter of this platform, in all processes."""

    def __init__(self, layout: Layout) -> None:
        self._folder = _folder(layout)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._sock = _datagram_socket()

    def wake(self) -> None:
        for name in os.listdir(self._folder):
            path = self._folder / name
            try:
                self._sock.sendto(b"", str(path))
            except ConnectionRefusedError:  # its process was killed
                path.unlink(missing_ok=True)
            except OSError:  # the waiter has gone meanwhile, or has not read the last wake-up yet
                continue

    def close(self) -> None:
        self._sock.close()


def _folder(layout: Layout) -> Path:
    return layout.converge_socket.with_name("waiting")


def _datagram_socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

"""Accepts connections, while there are descriptors for them, and gives them to an entrance."""

from __future__ import annotations

import errno
import os
import resource
import socket
import sys
from typing import Final

from router.front.client_limits import IdleEviction
from router.front.entrance import Entrance
from router.io.tickets import Tickets

ACCEPT_BATCH: Final = 64
RESERVED_FDS: Final = 512


class Listener:
    """Accepts clients while there are descriptors for them. When these run out it closes idle connections; if there are
    none, it stops accepting until the next tick."""

    def __init__(
        self, entrance: Entrance, sock: socket.socket, eviction: IdleEviction, tickets: Tickets | None = None
    ) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it
        self.shared = shared = entrance.shared
        self.entrance = entrance
        self.eviction = eviction
        self.tickets = tickets
        self.socket = sock
        self.paused = False
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._limit = max(64, soft - RESERVED_FDS if soft > 2 * RESERVED_FDS else soft // 2)
        shared.loop.add(sock.fileno(), self)

    def readable(self) -> None:
        if self.tickets is not None:
            self.tickets.refresh(self.shared.loop.now, self.shared.loop.wall)
        for _ in range(ACCEPT_BATCH):
            if not self._accept():
                return

    def _accept(self) -> bool:
        """Accept one client; False if none waits, or there is no descriptor for it."""
        shared = self.shared
        if len(shared.clients) >= self._limit and not self.eviction.evict():
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
            if not self.eviction.evict():
                self._pause(errno.errorcode[error.errno])
            return False  # the descriptors are free when this batch of events is through
        if fd >= self._limit:  # the lowest that is free: instances take the others
            self.eviction.evict()
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
            f"router event=accept-paused reason={why} clients={len(self.shared.clients)}",
            file=sys.stderr,
            flush=True,
        )
        self.paused = True
        self.shared.loop.remove(self.socket.fileno())
        self.shared.on_tick.append(self._resume)

    def _resume(self, now: float) -> None:
        self.paused = False
        self.shared.on_tick.remove(self._resume)
        self.shared.loop.add(self.socket.fileno(), self)

    def close(self) -> None:
        """Accept the clients that wait already, which the kernel would reset, then listen no more."""
        while not self.paused and self._accept():
            pass
        if self.paused:
            self.shared.on_tick.remove(self._resume)
        else:
            self.shared.loop.remove(self.socket.fileno())
        self.socket.close()

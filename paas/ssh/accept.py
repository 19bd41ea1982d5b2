"""The accept loop: single-threaded, with everything imported; forks the processes of each connection.

It reads no byte that a client sends (it only peeks for the end of the version line). It dies with its supervisor, its
children die with it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import time
from collections.abc import Callable

from paas.receive.context import GitContext
from paas.ssh.admission import source_of, starting_stage, waiting_stage
from paas.ssh.monitor import log_line, serve_connection
from paas.ssh.paramiko_transport import MAX_BANNER_BYTES, VERSION
from paas.ssh.processes import Processes
from runtime.kernel import syscalls
from runtime.kernel.forked import fork

HOUSEKEEPING_S = 3600.0
_SOON_S = 0.5
_MAX_POLL_S = 30.0
_REPORT_S = 60.0
_ACCEPT_BATCH = 16
_MAX_VERSION_LINE_BYTES = 255
_BACKLOG = 128


class Server:
    """Accept on `listener` until SIGTERM. `housekeep` runs in a forked child now and then, and when poked."""

    def __init__(
        self, listener: socket.socket, ctx: GitContext, housekeep: Callable[[], None], poke: socket.socket
    ) -> None:
        limits = ctx.limits
        self._listener = listener
        self._poke = poke
        self._ctx = ctx
        self._housekeep = housekeep
        self._limits = limits
        self._waiting = waiting_stage(limits)
        self._starting = starting_stage(limits)
        self._sockets: dict[int, tuple[socket.socket, str]] = {}
        self._ready: dict[int, str] = {}
        """descriptor → source of connections whose version line has arrived, in that order"""
        self._next_housekeeping = 0.0
        self._refused = 0
        self._reported_at = 0.0
        self._wakeup, self._signals = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poller = select.poll()
        self._processes = Processes(self._poller)
        for source in (listener, self._wakeup, poke):
            self._poller.register(source, select.POLLIN)

    def serve(self) -> None:
        self._listener.listen(_BACKLOG)
        self._listener.setblocking(False)
        signal.set_wakeup_fd(self._signals, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.signal(signal.SIGTERM, lambda _number, _frame: os._exit(0))
        while True:
            self.turn()

    def turn(self) -> None:
        """Wait for events and handle them."""
        for descriptor, _ in self._poller.poll(self._poll_timeout_s() * 1000):
            if descriptor == self._listener.fileno():
                self._accept()
            elif descriptor == self._wakeup:
                os.read(self._wakeup, 4096)
            elif descriptor == self._poke.fileno():
                self._poked()
            elif descriptor in self._sockets:
                self._greeted(descriptor)
            else:
                self._logged_in(descriptor)
        self._reap()
        now = time.monotonic()
        self._expire(now)
        self._admit_ready(now)

    def _poked(self) -> None:
        """An app was destroyed: remove its repository soon, with those of other apps destroyed meanwhile."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._poke.recv(16)
        self._next_housekeeping = min(self._next_housekeeping, time.monotonic() + _SOON_S)

    def _poll_timeout_s(self) -> float:
        now = time.monotonic()
        due = [self._next_housekeeping, now + _MAX_POLL_S]
        due += [each for stage in (self._waiting, self._starting) if (each := stage.next_due()) is not None]
        if self._ready:
            due.append(now + _SOON_S)
        return max(0.0, min(due) - now) + 0.01  # a moment late: stages keep a client until its time is over

    def _accept(self) -> None:
        """Accept a few, send them our version line, wait for theirs."""
        for _ in range(_ACCEPT_BATCH):
            try:
                sock, address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                log_line(f"event=accept-failed error={error.strerror!r}")
                time.sleep(0.05)
                return
            source = source_of(address[0])
            if not self._waiting.room_for(source):
                self._refuse(sock)
                continue
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contextlib.suppress(OSError):
                sock.send(VERSION.encode() + b"\r\n")
            now = time.monotonic()
            if self._waiting.is_full() and (evicted := self._waiting.to_evict(now)) is not None:
                self._drop(evicted)
            self._waiting.add(sock.fileno(), source, now)
            self._sockets[sock.fileno()] = (sock, source)
            self._poller.register(sock, select.POLLIN)

    def _greeted(self, descriptor: int) -> None:
        sock, source = self._sockets[descriptor]
        try:
            seen = sock.recv(MAX_BANNER_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            seen = b""
        if seen.startswith(b"SSH-2.0-") and b"\n" in seen[: _MAX_VERSION_LINE_BYTES + 1]:
            self._poller.unregister(descriptor)
            self._ready[descriptor] = source
        elif not b"SSH-2.0-".startswith(seen[:8]) or not seen or len(seen) > _MAX_VERSION_LINE_BYTES:
            self._drop(descriptor)
        else:
            # a peeked byte stays readable: wait for more instead of spinning
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, len(seen) + 1)

    def _admit_ready(self, now: float) -> None:
        """Start connections whose version line is here, as far as there is room; the others wait."""
        while (descriptor := self._starting.next_of(self._ready.items(), self._waiting)) is not None:
            if self._starting.is_full():
                evicted = self._starting.to_evict(now, self._limits.prompt_s, self._waiting)
                if evicted is None:
                    return
                self._starting.remove(evicted)
                self._refused += 1
                os.kill(evicted, signal.SIGKILL)
            del self._ready[descriptor]
            self._waiting.remove(descriptor)
            self._admit(*self._sockets.pop(descriptor))

    def _admit(self, sock: socket.socket, source: str) -> None:
        if len(self._processes) - len(self._starting) >= self._limits.connections:
            self._refuse(sock)
            return
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        try:
            read, write = os.pipe2(os.O_CLOEXEC)
            try:
                pid = self._fork("git connection", lambda: serve_connection(sock, self._ctx, write))
            except OSError:
                os.close(read)
                raise
            finally:
                os.close(write)
        except OSError as error:
            log_line(f"event=fork-failed error={error.strerror!r}")
            self._refuse(sock)
            return
        sock.close()
        self._processes.add(pid, read)
        self._starting.add(pid, source, time.monotonic())

    def _fork(self, name: str, action: Callable[[], None]) -> int:
        parent = os.getpid()

        def child() -> None:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
            self._listener.close()
            for other, _ in self._sockets.values():
                other.close()
            if os.getppid() == parent:
                action()

        return fork(name, child)

    def _logged_in(self, descriptor: int) -> None:
        """Limit connections per user; the newest one over the limit is closed."""
        login = self._processes.read_login(descriptor)
        if login is None:
            return
        self._starting.remove(login.pid)
        if self._processes.count(login.user) > self._limits.connections_per_user:
            self._refused += 1
            os.kill(login.pid, signal.SIGKILL)
            return
        log_line(f"event=login user={login.user!r} pid={login.pid}")

    def _reap(self) -> None:
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self._starting.remove(pid) is not None:
                self._refused += 1
            self._processes.remove(pid)

    def _expire(self, now: float) -> None:
        for descriptor in self._waiting.overdue(now):
            self._drop(descriptor)
        for pid in self._starting.overdue(now):
            self._starting.remove(pid)
            os.kill(pid, signal.SIGKILL)
        if now >= self._next_housekeeping:
            self._next_housekeeping = now + HOUSEKEEPING_S
            with contextlib.suppress(OSError):
                self._fork("git housekeeping", self._housekeep)
        if self._refused and now - self._reported_at > _REPORT_S:
            log_line(f"event=refused connections={self._refused}")
            self._refused, self._reported_at = 0, now

    def _refuse(self, sock: socket.socket) -> None:
        self._refused += 1
        sock.close()

    def _drop(self, descriptor: int) -> None:
        self._refused += 1
        self._waiting.remove(descriptor)
        sock, _ = self._sockets.pop(descriptor)
        if self._ready.pop(descriptor, None) is None:
            self._poller.unregister(descriptor)
        sock.close()


def freeze_memory() -> None:
    """Exempt everything imported from garbage collection, so that children go on sharing its pages."""
    gc.collect()
    gc.freeze()

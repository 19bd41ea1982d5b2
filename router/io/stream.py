"""A non-blocking connection: reads on events, writes at once, keeps what the kernel did not take."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from typing import TYPE_CHECKING, Final

from router.io.loop import GONE, IN, OUT, Loop

if TYPE_CHECKING:
    from router.io.tls import Secure

SENT: Final = 1
PENDING: Final = 0
BROKEN: Final = -1

READ_BYTES: Final = 65536
BIG: Final = bytearray(256 * 1024)
"""A buffer for the whole process: its contents are written or copied before the next event is handled."""
BIG_VIEW: Final = memoryview(BIG)
MAX_UNREAD_BYTES: Final = 4 * len(BIG)


class Stream:
    """The base of client, backend and tunnel connections. `fd` is -1 when closed. `out` holds the unsent bytes,
    encrypted where TLS is spoken. `secure` encrypts and decrypts, and is None on plain connections; code that reads or
    writes the descriptor itself must check it."""

    __slots__ = ("fd", "loop", "mask", "out", "secure")

    def __init__(self, loop: Loop, fd: int, mask: int = IN) -> None:
        self.loop = loop
        self.fd = fd
        self.mask = mask
        self.out: bytearray | None = None
        self.secure: Secure | None = None

    def readable(self) -> None:
        raise NotImplementedError

    def receive(self) -> bytes | None:
        """Read once: `b""` when the peer has ended or is gone, None when there is nothing to read now."""
        try:
            return os.read(self.fd, READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def data_received(self, data: bytes) -> None:
        """Handle decrypted bytes; `b""` means that the peer sends no more. `readable` calls it, on TLS connections
        through `encrypted_received`."""
        raise NotImplementedError

    def check(self, now: float) -> None:
        """Called once a second for connections of clients: end whatever takes too long."""

    def resting_since(self) -> float:
        """The time since which a client's connection has been idle; 0.0 while it is busy."""
        return 0.0

    def give_up(self) -> None:
        """Close an idle connection because descriptors run out."""
        self.lost()

    def drained(self) -> None:
        """Called when all of `out` has been written."""
        raise NotImplementedError

    def lost(self) -> None:
        """The peer is gone: a write failed, or an error or hang-up was reported while reading was paused."""
        raise NotImplementedError

    def abort(self) -> None:
        self.lost()

    def wrote(self) -> None:
        """Called when a part of `out` has been written."""

    def event(self, mask: int) -> None:
        if mask & OUT:
            self.flush()
        if mask & ~OUT and self.fd >= 0:
            if self.mask & IN:
                self.readable()
            elif mask & GONE:
                self.lost()

    def send(self, data: bytes | memoryview) -> int:
        """Write as much as the kernel takes. Returns SENT, PENDING (the remainder is in `out`, `drained` will be
        called) or BROKEN."""
        if self.secure is not None:
            return self._send_sealed(self.secure, data)
        if self.out:
            self.out += data
            return PENDING
        try:
            count = os.write(self.fd, data)
        except BlockingIOError:
            count = 0
        except OSError:
            return BROKEN
        if count == len(data):
            return SENT
        self.out = bytearray(data[count:])
        self.watch(self.mask | OUT)
        return PENDING

    def _send_sealed(self, secure: Secure, data: bytes | memoryview) -> int:
        try:
            records = secure.seal(data)
            if self.out:
                self.out += b"".join(records)
                return PENDING
            count = os.writev(self.fd, records)
        except BlockingIOError:
            count = 0
        except OSError:
            return BROKEN
        if count == sum([len(record) for record in records]):
            return SENT
        self.out = bytearray(b"".join(records))
        del self.out[:count]
        self.watch(self.mask | OUT)
        return PENDING

    def flush(self) -> None:
        """Write as much of `out` as the kernel takes."""
        out = self.out
        if not out:
            self.watch(self.mask & ~OUT)
            return
        try:
            count = os.write(self.fd, out)
        except BlockingIOError:
            return
        except OSError:
            self.out = None
            self.lost()
            return
        self.wrote()
        if count < len(out):
            del out[:count]
            return
        self.out = None
        self.watch(self.mask & ~OUT)
        self.drained()

    def encrypted_received(self, data: bytes) -> None:
        """Handle bytes that were read from a TLS connection; `b""` means that the peer has closed it."""
        if data:
            self.decrypt(data)
        else:
            self.data_received(b"")

    def decrypt(self, data: bytes) -> None:
        """Decrypt these bytes, which may be none, together with what TLS still holds, and handle the result."""
        secure = self.secure
        assert secure is not None
        try:
            plain = secure.open(data)
        except OSError:
            self._put(secure.replies())
            self.lost()
            return
        replies = secure.replies()
        if replies:
            self._put(replies)
        if plain and self.fd >= 0:
            self.data_received(plain)
        if secure.ended and self.fd >= 0:
            self.data_received(b"")

    def _put(self, data: bytes) -> None:
        """Write bytes that TLS itself made. Errors are ignored: the next read reports them."""
        if self.out:
            self.out += data
            if len(self.out) > MAX_UNREAD_BYTES:
                self.lost()  # the peer provokes replies and does not read them
            return
        try:
            count = os.write(self.fd, data)
        except BlockingIOError:
            count = 0
        except OSError:
            return
        if count < len(data):
            self.out = bytearray(data[count:])
            self.watch(self.mask | OUT)

    def ended_unread(self) -> bool:
        """Whether the peer has ended, even if earlier bytes are still unread."""
        poll = select.poll()
        poll.register(self.fd, select.POLLRDHUP)
        return bool(poll.poll(0))

    def shut(self) -> bool:
        """Shut down the sending side once `out` is empty; False when the peer is gone."""
        self._goodbye()
        sock = socket.socket(fileno=self.fd)
        try:
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            return False
        finally:
            sock.detach()
        return True

    def _goodbye(self) -> None:
        if self.secure is not None and not self.out:
            with contextlib.suppress(OSError):
                os.write(self.fd, self.secure.goodbye())

    def watch(self, mask: int) -> None:
        """Wait for these events from now on."""
        if mask != self.mask and self.fd >= 0:
            self.mask = mask
            self.loop.epoll.modify(self.fd, mask)

    def pause(self) -> None:
        """Stop reading: the receiver of the data is slower."""
        self.watch(self.mask & ~IN)

    def resume(self) -> None:
        self.watch(self.mask | IN)

    def close(self) -> None:
        if self.fd >= 0:
            if self.secure is not None:
                self._goodbye()
            self.loop.close(self.fd)
            self.fd = -1
            self.out = None

"""The shim's end of `run`: one client at a time on a unix socket, frames both ways, bounded buffers.

Output waits in memory until the first client comes. While a slow client leaves the buffer full, nothing more is read
from the container, so that it blocks as it would on a slow terminal.
"""

from __future__ import annotations

import select
import socket
import time
from contextlib import suppress

from runtime import frames

_HELD_BYTES = 1024 * 1024
_FIRST_CLIENT_S = 10.0
_CHUNK = 32 * 1024


class Attach:
    """Sockets and buffers; the shim's loop polls what `interest` names and calls back."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._listener.setblocking(False)
        self._client: socket.socket | None = None
        self._decoder = frames.FrameDecoder()
        self._out = bytearray()
        self.awaited_until: float | None = time.monotonic() + _FIRST_CLIENT_S
        """When the first client is given up; None once it has come or is given up."""

    @property
    def connected(self) -> bool:
        return self._client is not None

    def interest(self, *, read: bool) -> list[tuple[int, int]]:
        """Descriptors and poll(2) events; input is read only with `read`."""
        wanted = [(self._listener.fileno(), select.POLLIN)]
        if self._client is not None:
            events = (select.POLLIN if read else 0) | (select.POLLOUT if self._out else 0)
            wanted.append((self._client.fileno(), events))
        return wanted

    def has_room(self) -> bool:
        """Whether more output may be read from the container."""
        return len(self._out) < _HELD_BYTES

    def put(self, channel: int, data: bytes) -> None:
        """Queue output; lost once the client has gone."""
        if self.awaited_until is None and self._client is None:
            return
        for start in range(0, max(len(data), 1), _CHUNK):
            self._out += frames.encode_frame(channel, data[start : start + _CHUNK])

    def give_up_if_due(self, now: float) -> None:
        """Forget the held output when no client has come in time."""
        if self.awaited_until is not None and now >= self.awaited_until:
            self.awaited_until = None
            self._out.clear()

    def accept(self) -> None:
        """Accept a client; a second one at the same time is closed."""
        with suppress(BlockingIOError):
            client, _ = self._listener.accept()
            if self._client is not None:
                client.close()
                return
            client.setblocking(False)
            self._client = client
            self._decoder = frames.FrameDecoder()
            self.awaited_until = None

    def is_listener(self, fd: int) -> bool:
        return fd == self._listener.fileno()

    def is_client(self, fd: int) -> bool:
        return self._client is not None and fd == self._client.fileno()

    def receive(self) -> list[tuple[int, bytes]] | None:
        """Frames the client sent; None when it has hung up or broken the protocol."""
        if self._client is None:
            return []
        try:
            data = self._client.recv(65536)
            if data:
                return self._decoder.feed(data)
        except BlockingIOError:
            return []
        except (OSError, frames.FrameError):
            pass
        self.hang_up()
        return None

    def send(self) -> bool:
        """Write as much as the socket takes; False if the client has gone."""
        if self._client is None or not self._out:
            return True
        try:
            del self._out[: self._client.send(memoryview(self._out)[:65536])]
        except BlockingIOError:
            return True
        except OSError:
            self.hang_up()
            return False
        return True

    def pending(self) -> bool:
        return bool(self._out)

    def hang_up(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
        self._out.clear()

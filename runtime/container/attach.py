"""The shim's end of `run`: one client at a time on a unix socket, frames both ways, bounded buffers.

Output waits in memory until the first client comes; a slow client stops the reading, so that the container blocks
as it would on a slow terminal.
"""

from __future__ import annotations

import select
import socket
from contextlib import suppress

from runtime import frames

HELD_BYTES = 1024 * 1024
FIRST_CLIENT_S = 10.0
_CHUNK = 32 * 1024


class Attach:
    """Sockets and buffers; the shim's loop polls what `interest` names and calls back."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._listener.setblocking(False)
        self._client: socket.socket | None = None
        self._decoder = frames.FrameDecoder()
        self._out = bytearray()
        self._ever = False

    @property
    def awaited(self) -> bool:
        """No client has come yet."""
        return not self._ever

    @property
    def connected(self) -> bool:
        return self._client is not None

    def interest(self, *, read: bool) -> list[tuple[int, int]]:
        """Descriptors and poll(2) events; `read` tells whether input is welcome."""
        wanted = [(self._listener.fileno(), select.POLLIN)]
        if self._client is not None:
            events = (select.POLLIN if read else 0) | (select.POLLOUT if self._out else 0)
            wanted.append((self._client.fileno(), events))
        return wanted

    def has_room(self) -> bool:
        """Whether more output may be read from the container."""
        return len(self._out) < HELD_BYTES

    def put(self, channel: int, data: bytes) -> None:
        """Queue output; lost once the client has gone."""
        if self._ever and self._client is None:
            return
        for start in range(0, max(len(data), 1), _CHUNK):
            self._out += frames.encode_frame(channel, data[start : start + _CHUNK])

    def give_up_waiting(self) -> None:
        """Nobody came: forget what was held."""
        self._ever = True
        self._out.clear()

    def accept(self) -> None:
        """Take a client; a second one beside it is turned away."""
        with suppress(BlockingIOError):
            client, _ = self._listener.accept()
            if self._client is not None:
                client.close()
                return
            client.setblocking(False)
            self._client = client
            self._decoder = frames.FrameDecoder()
            self._ever = True

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
        """Write what fits; False when that showed that the client has gone."""
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

"""Bytes to and from one client: reads that are exact, writes that give up, and the hang-up that ends both."""

from __future__ import annotations

import os
import select
import signal
import time
from types import FrameType


class Hangup(BaseException):
    """The client is gone: undo, say nothing, end. Not an Exception, so that nobody mistakes it for a failure."""


def hang_up_on_signal() -> None:
    """From here on SIGHUP raises Hangup in the main thread, once."""

    def handler(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        raise Hangup

    signal.signal(signal.SIGHUP, handler)


class Wire:
    """The two ends of a client's channel. `stall_s`: how long it may neither take nor give a byte."""

    def __init__(self, source: int, sink: int, stall_s: float) -> None:
        self.source = source
        self.sink = sink
        self._stall_s = stall_s
        os.set_blocking(sink, False)

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes, fewer at the end of input. Raises Hangup when the client stalls."""
        data = bytearray()
        while len(data) < size:
            part = self.read_some(size - len(data))
            if not part:
                break
            data += part
        return bytes(data)

    def read_some(self, size: int) -> bytes:
        self._ready(self.source, select.POLLIN)
        return os.read(self.source, min(size, 1 << 18))

    def write(self, data: bytes) -> None:
        """All of it. Raises Hangup when the client stalls or is gone."""
        view = memoryview(data)
        while view:
            self._ready(self.sink, select.POLLOUT)
            try:
                view = view[os.write(self.sink, view) :]
            except BlockingIOError:
                continue
            except (BrokenPipeError, ConnectionError):
                raise Hangup from None

    def drain(self, limit: int, seconds: float) -> bool:
        """Read on and forget, so that the client gets to hear the answer; whether it came to its end."""
        deadline = time.monotonic() + seconds
        while limit > 0 and time.monotonic() < deadline:
            part = self.read_some(1 << 18)
            if not part:
                return True
            limit -= len(part)
        return False

    def _ready(self, descriptor: int, event: int) -> None:
        poller = select.poll()
        poller.register(descriptor, event)
        if not poller.poll(self._stall_s * 1000):
            raise Hangup

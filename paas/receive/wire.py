"""Bytes to and from one client: exact reads, writes that give up, and the hang-up that interrupts both."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterator
from types import FrameType


class Hangup(BaseException):
    """The client is gone: clean up and end, print nothing. No Exception, so that no handler takes it for a failure."""


class _Line:
    """Whether the client has hung up, and how many blocks of `waiting` this process is in."""

    def __init__(self) -> None:
        self.gone = False
        self.waiting = 0

    def hang_up(self, _number: int, _frame: FrameType | None) -> None:
        if not self.gone:
            self.gone = True
            if self.waiting:
                raise Hangup


_line = _Line()


def hang_up_on_signal() -> None:
    """From now on SIGHUP raises Hangup, once, and only inside a block of `waiting`."""
    signal.signal(signal.SIGHUP, _line.hang_up)


@contextlib.contextmanager
def waiting() -> Iterator[None]:
    """A hang-up interrupts this block. Outside of such blocks nothing is interrupted, least of all a clean-up."""
    _line.waiting += 1
    try:
        if _line.gone and _line.waiting == 1:
            raise Hangup
        yield
    finally:
        _line.waiting -= 1


def pause(seconds: float) -> None:
    """Sleep, unless the client hangs up."""
    with waiting():
        time.sleep(seconds)


class Wire:
    """A client's channel: input, output, and stderr (`aside`). The client may move no byte for `stall_s` at most."""

    def __init__(self, source: int, sink: int, aside: int, stall_s: float) -> None:
        self.source = source
        self.sink = sink
        self._aside = aside
        self._stall_s = stall_s
        for descriptor in (sink, aside):
            os.set_blocking(descriptor, False)

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
        self._wait_for(self.source, select.POLLIN)
        return os.read(self.source, min(size, 1 << 18))

    def write(self, data: bytes) -> None:
        """All of it. Raises Hangup when the client stalls or is gone."""
        self._write(self.sink, data)

    def write_aside(self, data: bytes) -> None:
        """Like `write`, to stderr."""
        self._write(self._aside, data)

    def _write(self, descriptor: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            self._wait_for(descriptor, select.POLLOUT)
            try:
                view = view[os.write(descriptor, view) :]
            except BlockingIOError:
                continue
            except (BrokenPipeError, ConnectionError):
                raise Hangup from None

    def drain(self, limit: int, seconds: float) -> bool:
        """Read and drop input, so that the client comes to read the answer; True if its end was reached."""
        deadline = time.monotonic() + seconds
        while limit > 0 and time.monotonic() < deadline:
            part = self.read_some(1 << 18)
            if not part:
                return True
            limit -= len(part)
        return False

    def _wait_for(self, descriptor: int, event: int) -> None:
        poller = select.poll()
        poller.register(descriptor, event)
        with waiting():
            if not poller.poll(self._stall_s * 1000):
                raise Hangup

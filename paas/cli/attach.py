"""The client's end of an attached process: terminal or pipes on one side, channel frames on the other."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from paas.nouns.errors import Unavailable
from runtime.frames import EXIT, RESIZE, SIGNAL, STDERR, STDIN, STDOUT, FrameDecoder, encode_frame
from runtime.kernel import files

_PIECE = 32 * 1024
_WAITING_BYTES = 256 * 1024
"""Input is read only while less than this waits to be sent, so that a slow command slows its input."""


def terminal_size() -> tuple[int, int]:
    """Rows and columns of the terminal at hand."""
    try:
        size = os.get_terminal_size(0)
    except OSError:
        return 24, 80
    return size.lines or 24, size.columns or 80


class Attachment:
    """Relays until the process has ended; `run` gives its exit status, 128 + N for a signal N."""

    def __init__(self, sock: socket.socket, first: bytes, *, terminal: bool) -> None:
        self._socket = sock
        self._terminal = terminal
        self._decoder = FrameDecoder()
        self._waiting = bytearray()
        self._status: int | None = None
        self._interrupts = 0
        self._reads_input = True
        self._never_blocks = False
        """Input is a file, which cannot be waited for and need not be."""
        self._selector = selectors.DefaultSelector()
        self._take(first)

    def run(self) -> int:
        """Raises Unavailable when the connection breaks before the process has ended."""
        self._socket.setblocking(False)
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        with self._signals(wake_write), _raw(self._terminal):
            self._selector.register(self._socket, selectors.EVENT_READ)
            self._selector.register(wake_read, selectors.EVENT_READ)
            self._watch_input()
            if self._terminal:
                self._resize()
            while self._status is None:
                from_file = self._never_blocks and self._wants_input()
                for key, events in self._selector.select(0 if from_file else None):
                    self._serve(key.fileobj, events, wake_read)
                if from_file:
                    self._read_input()
        self._selector.close()
        os.close(wake_read)
        os.close(wake_write)
        return self._status

    def _serve(self, ready: Any, events: int, wake: int) -> None:
        if ready == wake:
            for number in os.read(wake, 64):
                self._signalled(number)
        elif ready == 0:
            self._read_input()
        else:
            if events & selectors.EVENT_WRITE:
                self._flush()
            if events & selectors.EVENT_READ:
                self._receive()

    def _receive(self) -> None:
        try:
            data = self._socket.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError as error:
            raise Unavailable(f"The connection to the process broke: {error.strerror}.") from error
        if not data:
            raise Unavailable("The connection to the process broke.", "It may still run; see: paas ps")
        self._take(data)

    def _take(self, data: bytes) -> None:
        for channel, payload in self._decoder.feed(data):
            if channel in (STDOUT, STDERR):
                files.write_all(1 if channel == STDOUT else 2, payload)
            elif channel == EXIT:
                end = json.loads(payload)
                self._status = 128 + int(end["signal"]) if end.get("signal") else int(end.get("status") or 0)

    def _read_input(self) -> None:
        try:
            data = os.read(0, _PIECE)
        except OSError:
            data = b""
        if not data:
            self._reads_input = False
        self._send(STDIN, data)

    def _send(self, channel: int, payload: bytes) -> None:
        self._waiting += encode_frame(channel, payload)
        self._flush()

    def _flush(self) -> None:
        try:
            while self._waiting:
                sent = self._socket.send(self._waiting)
                del self._waiting[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._waiting.clear()
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._waiting else 0)
        self._selector.modify(self._socket, wanted)
        self._watch_input()

    def _wants_input(self) -> bool:
        return self._reads_input and len(self._waiting) < _WAITING_BYTES

    def _watch_input(self) -> None:
        """Read input unless it is at its end or too much of it waits."""
        watched = 0 in self._selector.get_map()
        if self._wants_input() and not watched and not self._never_blocks:
            try:
                self._selector.register(0, selectors.EVENT_READ)
            except (PermissionError, ValueError, OSError):
                self._never_blocks = True
        elif watched and not self._wants_input():
            self._selector.unregister(0)

    def _resize(self) -> None:
        self._send(RESIZE, struct.pack(">HH", *terminal_size()))

    def _signalled(self, number: int) -> None:
        if number == signal.SIGWINCH:
            if self._terminal:
                self._resize()
            return
        self._interrupts += 1
        if self._interrupts > 2:
            self._status = 128 + number
            return
        self._send(SIGNAL, signal.Signals(number).name.removeprefix("SIG").encode())

    @contextmanager
    def _signals(self, wake: int) -> Iterator[None]:
        """Signals become bytes in a pipe; Ctrl-C is passed on to the process, the third one gives up."""
        numbers = (signal.SIGWINCH, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, lambda *_: None) for number in numbers}
        old = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(old)
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def _raw(terminal: bool) -> Iterator[None]:
    """The terminal passes every key on as it is, and is put back whatever happens."""
    if not terminal:
        yield
        return
    import termios
    import tty

    before = termios.tcgetattr(0)
    tty.setraw(0, termios.TCSANOW)
    try:
        yield
    finally:
        with suppress(termios.error):
            termios.tcsetattr(0, termios.TCSADRAIN, before)

"""The monitor as the process that speaks SSH sees it: it signs, knows keys, judges logins and starts commands."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
from queue import SimpleQueue

from paas.daemon import threads
from paas.ssh import control
from paas.ssh.control import YES, Asked, Proving


class Link:
    """Questions to the monitor at the other end of `sock`. May be used by several threads."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._numbers = itertools.count(1)
        self._answers: dict[int, SimpleQueue[tuple[bytes, list[int]]]] = {}
        self._ends: dict[int, SimpleQueue[int]] = {}
        threads.start("git monitor", self._listen, then=lambda: os._exit(1))

    def sign(self, hash: bytes) -> bytes:
        """The host key's signature, in its wire form."""
        return self._ask(b"sign", hash)[1]

    def offer(self, key: bytes) -> bool:
        """Whether a key is somebody's."""
        return self._ask(b"offer", key)[1] == YES

    def prove(self, given: Proving) -> bool:
        """Whether the client holds the key; if so the connection is its user's."""
        return self._ask(b"prove", given.encode())[1] == YES

    def start(self, asked: Asked) -> tuple[int, list[int]]:
        """Start a command: its number, and our ends of its streams, a terminal's or stdin, stdout, stderr."""
        number, _, streams = self._ask(b"start", asked.encode())
        return number, streams

    def hangup(self, number: int) -> None:
        with contextlib.suppress(OSError):
            self._sock.send(control.pack(b"hangup", number))

    def wait(self, number: int) -> int:
        """The exit status of a command, when it has one."""
        return self._ends[number].get()

    def _ask(self, verb: bytes, body: bytes) -> tuple[int, bytes, list[int]]:
        number = next(self._numbers)
        self._answers[number] = SimpleQueue()
        if verb == b"start":
            self._ends[number] = SimpleQueue()
        self._sock.send(control.pack(verb, number, body))
        answer, streams = self._answers[number].get()
        del self._answers[number]
        return number, answer, streams

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while (message := control.receive(self._sock))[0]:
                verb, number, body = control.unpack(message[0])
                if verb == b"exit":
                    self._ends[number].put(int(body))
                else:
                    self._answers[number].put((body, message[1]))

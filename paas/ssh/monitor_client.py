"""The speaker's end of the control socket: requests to the monitor, and its answers."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
from queue import SimpleQueue

from paas.daemon import threads
from paas.ssh import control
from paas.ssh.control import YES, CommandRequest, SignedLogin


class MonitorClient:
    """Requests to the monitor at the other end of `sock`. Threads may share it."""

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
        """True if a user has this key."""
        return self._ask(b"offer", key)[1] == YES

    def prove(self, login: SignedLogin) -> bool:
        """True if the client holds the key; the connection then is its user's."""
        return self._ask(b"prove", login.encode())[1] == YES

    def start(self, request: CommandRequest) -> tuple[int, list[int]]:
        """Start a command: its number, and the near ends of its streams: a terminal, or stdin, stdout and stderr."""
        number, _, streams = self._ask(b"start", request.encode())
        return number, streams

    def hangup(self, number: int) -> None:
        with contextlib.suppress(OSError):
            self._sock.send(control.pack(b"hangup", number))

    def wait(self, number: int) -> int:
        """Wait for a command's exit status."""
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

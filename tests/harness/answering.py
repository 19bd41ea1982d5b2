"""An API that gives the same bytes to every request, whatever it is."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path


class Answering:
    """Listens at `path`; each connection gets the pieces of `answer`. Remembers the requests."""

    def __init__(self, path: Path) -> None:
        self.answer: list[bytes] = []
        self.requests: list[bytes] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._loop, daemon=True).start()

    def _loop(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with peer, contextlib.suppress(ConnectionError):
                self.requests.append(peer.recv(65536))
                for piece in self.answer:
                    peer.sendall(piece)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

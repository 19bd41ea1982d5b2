"""The session ticket key that all workers share, so that a client resumes at any of them, and after a restart.

Where OpenSSL cannot be told a key (see `openssl`), each worker keeps a random one: other workers then do full handshakes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import ssl
import tempfile
from pathlib import Path
from typing import Final

from router.io import openssl

RENEWED_S: Final = 12 * 3600
LOOKED_AT_S: Final = 60.0
AGAIN_S: Final = 1.0


class Tickets:
    """Keeps the key of `base` equal to a file, and renews the file. A ticket of an older key no longer resumes."""

    def __init__(self, base: ssl.SSLContext, file: Path) -> None:
        self._base = base
        self._file = file
        self._key = b""
        self._next = 0.0
        self.shared = openssl.works()

    def refresh(self, now: float, wall: float) -> None:
        """Read the file, once a minute. Call it before handshakes."""
        if self.shared and now >= self._next:
            self._next = now + AGAIN_S
            with contextlib.suppress(OSError):
                key = self._read(wall)
                self._next = now + LOOKED_AT_S
                if key != self._key:
                    openssl.set_ticket_keys(self._base, key)
                    self._key = key

    def _read(self, wall: float) -> bytes:
        """The key in the file, renewed if it is old. Raises OSError, also while another worker renews it."""
        folder = os.open(self._file.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                key = self._file.read_bytes()
                if len(key) == openssl.KEY_BYTES and wall - self._file.stat().st_mtime < RENEWED_S:
                    return key
            fd, name = tempfile.mkstemp(prefix=self._file.name, dir=self._file.parent)  # mode 0600
            with os.fdopen(fd, "wb") as file:
                file.write(os.urandom(openssl.KEY_BYTES))
            os.replace(name, self._file)
            return self._file.read_bytes()
        finally:
            os.close(folder)

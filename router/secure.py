"""The TLS of one connection: records in, plain bytes out, and the reverse. It does no input or output itself."""

from __future__ import annotations

import contextlib
import ssl
from typing import Final

RECORD_BYTES: Final = 16384


class Secure:
    """Both halves of a connection's encryption. `ended` says that the peer sends no more, by its own word or because
    its records ended (RFC 8446 6.1)."""

    __slots__ = ("_incoming", "_outgoing", "_tls", "ended")

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.ended = False

    def open(self, data: bytes) -> bytes:
        """The plain bytes of these from the peer (none: it has closed); what is no whole record yet is kept.
        Raises ssl.SSLError, an OSError, for what is no TLS."""
        if not data or self.ended:
            self.ended = True
            return b""
        incoming = self._incoming
        incoming.write(data)
        plain = b""
        try:
            while incoming.pending:
                part = self._tls.read(RECORD_BYTES)
                if not part:
                    self.ended = True
                    break
                plain = plain + part if plain else part
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        return plain

    def seal(self, data: bytes | memoryview) -> bytes:
        """The records that carry these bytes. Raises ssl.SSLError."""
        done = 0
        while done < len(data):
            done += self._tls.write(data[done:] if done else data)
        return self._outgoing.read()

    def replies(self) -> bytes:
        """Records that TLS itself wants sent: alerts, key updates."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def goodbye(self) -> bytes:
        """The record that says that nothing more will be sent; nothing when that was said before."""
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        return self.replies()

"""The TLS of one connection: records to plain bytes and back. It does no input or output itself."""

from __future__ import annotations

import contextlib
import ssl
from typing import Final

RECORD_BYTES: Final = 16384
PART_BYTES: Final = 2 * RECORD_BYTES
"""The most that passes through OpenSSL's buffers at once: they never shrink while the connection lasts."""


class Secure:
    """Both directions of a connection's encryption. `ended` is set by the peer's close_notify (RFC 8446 6.1)."""

    __slots__ = ("_incoming", "_outgoing", "_tls", "ended")

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.ended = False

    def shake(self, data: bytes) -> bool:
        """Continue the handshake; returns whether it is complete. Raises ssl.SSLError. There may be `replies` either way."""
        self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    @property
    def protocol(self) -> str | None:
        """The protocol chosen by ALPN (RFC 7301)."""
        return self._tls.selected_alpn_protocol()

    @property
    def resumed(self) -> bool:
        """Whether the handshake resumed an earlier session."""
        return bool(self._tls.session_reused)

    def open(self, data: bytes) -> bytes:
        """Decrypt bytes from the peer; an incomplete record is kept. Raises ssl.SSLError, an OSError."""
        plain: list[bytes] = []
        if len(data) <= PART_BYTES:
            self._open(data, plain)
        else:
            view = memoryview(data)
            for at in range(0, len(data), PART_BYTES):
                self._open(view[at : at + PART_BYTES], plain)
        return plain[0] if len(plain) == 1 else b"".join(plain)

    def _open(self, data: bytes | memoryview, plain: list[bytes]) -> None:
        incoming, read = self._incoming, self._tls.read
        if self.ended:
            return
        incoming.write(data)
        try:
            while incoming.pending:
                part = read(RECORD_BYTES)
                if not part:
                    self.ended = True
                    return
                plain.append(part)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True

    def seal(self, data: bytes | memoryview) -> list[bytes]:
        """Encrypt these bytes; returns pieces of records. Raises ssl.SSLError."""
        size = len(data)
        done = self._tls.write(data if size <= PART_BYTES else data[:PART_BYTES]) if size else 0
        records = [self._outgoing.read()]
        while done < size:
            done += self._tls.write(data[done : done + PART_BYTES])
            records.append(self._outgoing.read())
        return records

    def replies(self) -> bytes:
        """Records that TLS itself needs to send: handshake, alerts, key updates."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def goodbye(self) -> bytes:
        """The close_notify record; empty if it was sent before."""
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        return self.replies()

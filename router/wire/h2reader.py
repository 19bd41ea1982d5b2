"""Bytes of a client to frames of HTTP/2: the preface, sizes, header blocks in one piece (RFC 9113 sections 3.4 and 4).
Pure."""

from __future__ import annotations

from typing import Final

from router.wire.h2wire import (
    ACK,
    CONTINUATION,
    END_HEADERS,
    ENHANCE_YOUR_CALM,
    FRAME_BYTES,
    FRAME_HEAD_BYTES,
    FRAME_SIZE_ERROR,
    HEADERS,
    PREFACE,
    PROTOCOL_ERROR,
    SETTINGS,
    ConnectionFailed,
    read_number,
    read_padded_block,
)

MAX_BLOCK_BYTES: Final = 64 * 1024
"""The longest header block, as it is encoded: encoded fields are hardly ever longer than plain ones."""
MAX_CONTINUATIONS: Final = 64


class FrameReader:
    """Gives each frame to `accept`, whole; a header block without padding, priority and CONTINUATIONs, of which there
    were `continuations`."""

    __slots__ = ("_block", "_block_flags", "_block_id", "_buffer", "_greeted", "continuations")

    def __init__(self) -> None:
        self._buffer = b""
        self._greeted = 0
        """0 before the preface, 1 before the first SETTINGS, 2 after."""
        self._block_id = 0
        """The stream whose header block is incomplete."""
        self._block_flags = 0
        self._block = b""
        self.continuations = 0

    def accept(self, kind: int, flags: int, id: int, payload: bytes) -> None:
        """A frame has come. May raise ConnectionFailed."""
        raise NotImplementedError

    def feed(self, data: bytes) -> None:
        """More bytes have come. Raises ConnectionFailed."""
        if self._buffer:
            data = self._buffer + data
        at = 0
        if not self._greeted:
            if not PREFACE.startswith(data[: len(PREFACE)]):
                raise ConnectionFailed(PROTOCOL_ERROR)
            if len(data) >= len(PREFACE):
                self._greeted = 1
                at = len(PREFACE)
        last = len(data) - FRAME_HEAD_BYTES if self._greeted else -1
        while at <= last:
            size = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
            if size > FRAME_BYTES:
                raise ConnectionFailed(FRAME_SIZE_ERROR)
            start = at + FRAME_HEAD_BYTES
            if start + size > len(data):
                break
            self._frame(data[at + 3], data[at + 4], read_number(data, at + 5), data[start : start + size])
            at = start + size
        self._buffer = data[at:]

    def _frame(self, kind: int, flags: int, id: int, payload: bytes) -> None:
        if self._block_id and (kind != CONTINUATION or id != self._block_id):
            raise ConnectionFailed(PROTOCOL_ERROR)
        if self._greeted == 1:
            if kind != SETTINGS or flags & ACK:
                raise ConnectionFailed(PROTOCOL_ERROR)
            self._greeted = 2
        if kind == HEADERS:
            flags, block = read_padded_block(flags, id, payload)
            self.continuations = 0
            if flags & END_HEADERS:
                self.accept(HEADERS, flags, id, block)
            else:
                self._block_id, self._block_flags, self._block = id, flags, block
        elif kind == CONTINUATION:
            self._continue(flags, payload)
        else:
            self.accept(kind, flags, id, payload)

    def _continue(self, flags: int, payload: bytes) -> None:
        """Another part of a header block. Each adds to what is kept, so both their number and their bytes are
        limited."""
        if not self._block_id:
            raise ConnectionFailed(PROTOCOL_ERROR)
        self._block += payload
        self.continuations += 1
        if self.continuations >= MAX_CONTINUATIONS:
            raise ConnectionFailed(PROTOCOL_ERROR)
        if len(self._block) > MAX_BLOCK_BYTES:
            raise ConnectionFailed(ENHANCE_YOUR_CALM)
        if flags & END_HEADERS:
            id, block = self._block_id, self._block
            self._block_id, self._block = 0, b""
            self.accept(HEADERS, self._block_flags, id, block)

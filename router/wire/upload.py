"""The body of a request on its way to the backend: what belongs to it, and in which form it goes on. Pure."""

from __future__ import annotations

from router.wire.chunked import BadChunk, ChunkReader, encode, encode_end


class Upload:
    """`length` is the announced number of bytes, -1 for a chunked body; `limit_bytes` is for the latter, 0 for none.
    `done` is set with the last byte; `rest` is then what followed it."""

    __slots__ = ("_chunks", "_left", "_length", "_limit_bytes", "done", "rest")

    def __init__(self, length: int, limit_bytes: int = 0) -> None:
        self._chunks = ChunkReader() if length < 0 else None
        self._length = self._left = length if length > 0 else 0
        self._limit_bytes = limit_bytes
        self.done = False
        self.rest = b""

    @property
    def received(self) -> int:
        """Bytes of data so far."""
        return self._left if self._chunks is not None else self._length - self._left

    @property
    def left(self) -> int:
        """Bytes that are still to come; 0 when that is not known."""
        return self._left if self._chunks is None else 0

    def pass_by(self, count: int) -> None:
        """So many bytes, fewer than are left, went to the backend without being taken."""
        self._left -= count

    def take(self, data: bytes) -> bytes:
        """The bytes that go to the backend for these from the client. Raises BadChunk."""
        if self._chunks is not None:
            return self._take_chunks(self._chunks, data)
        if len(data) > self._left:
            self.rest = data[self._left :]
            data = data[: self._left]
        self._left -= len(data)
        self.done = self._left == 0
        return data

    def _take_chunks(self, chunks: ChunkReader, data: bytes) -> bytes:
        data = chunks.feed(data)
        self._left += len(data)
        if 0 < self._limit_bytes < self._left:
            raise BadChunk("the body is too long", 413)
        data = encode(data)
        if chunks.done:
            self.done = True
            self.rest = chunks.rest
            data += encode_end(chunks.trailers)
        return data

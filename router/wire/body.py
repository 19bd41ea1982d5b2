"""The body of a message as it comes over a connection of HTTP/1, however its end is told. Pure."""

from __future__ import annotations

from router.wire.chunked import ChunkReader
from router.wire.response import CHUNKED, UNTIL_CLOSE


class Body:
    """Takes the bytes of a body in any split, gives the data in them.

    `length` is as in ResponseMeaning. `left` counts the bytes that are still to come of an announced length, 0 for
    others. `done` is set with the last byte; then `leftover` is what followed it, and `trailers` are lines, CRLF ended.
    `inspected`: whoever reads it has to see all bytes, none may be relayed unseen.
    """

    __slots__ = ("_chunks", "done", "inspected", "left", "leftover", "trailers", "until_close")

    def __init__(self, length: int) -> None:
        self.left = length if length > 0 else 0
        self.until_close = length == UNTIL_CLOSE
        self._chunks = ChunkReader() if length == CHUNKED else None
        self.done = length == 0
        self.inspected = False
        self.leftover = b""
        self.trailers = b""

    def take(self, data: bytes) -> bytes:
        """The data in these bytes. Raises BadChunk."""
        chunks = self._chunks
        if chunks is not None:
            data = chunks.feed(data)
            if chunks.done:
                self.done = True
                self.leftover = chunks.leftover
                self.trailers = chunks.trailers
        elif not self.until_close:
            if len(data) > self.left:
                self.leftover = data[self.left :]
                data = data[: self.left]
            self.left -= len(data)
            self.done = self.left == 0
        return data

    def skip(self, count: int) -> None:
        """So many bytes of an announced length were relayed without being looked at."""
        self.left -= count
        self.done = self.left == 0

"""The frames that one connection of HTTP/2 sends: heads, data as the windows allow, resets, windows given back."""

from __future__ import annotations

from typing import Final

from router.front.h2budget import Budget
from router.wire import h2wire
from router.wire.h2fields import AnswerField
from router.wire.h2wire import (
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES,
    HEADERS,
    INITIAL_WINDOW,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    RST_STREAM,
    WINDOW_UPDATE,
    frame,
    number,
)
from router.wire.hpack import TABLE_BYTES, Encoder

MAX_STREAMS: Final = 100
MAX_HEADER_LIST_BYTES: Final = 48 * 1024
CONNECTION_WINDOW: Final = 1024 * 1024
REMEMBERED_RESETS: Final = 1024

FAREWELL: Final = b"farewell"
"""The payload of the PING that follows the announcement of the end."""
_CLIENT_ERRORS: Final = (PROTOCOL_ERROR, REFUSED_STREAM)
_HELLO: Final = h2wire.settings(
    {
        h2wire.HEADER_TABLE_SIZE: TABLE_BYTES,
        h2wire.ENABLE_PUSH: 0,
        h2wire.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
        h2wire.INITIAL_WINDOW_SIZE: INITIAL_WINDOW,
        h2wire.MAX_FRAME_SIZE: FRAME_BYTES,
        h2wire.MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST_BYTES,
    }
) + frame(WINDOW_UPDATE, 0, 0, number(CONNECTION_WINDOW - INITIAL_WINDOW))


class Flow:
    """A stream that is not over. The router may send `send_window` bytes, the client `receive_window`. `credit` bytes
    have been read and not yet given back to the client's window."""

    __slots__ = ("credit", "receive_window", "request_ended", "send_window")

    def __init__(self, send_window: int, request_ended: bool) -> None:
        self.send_window = send_window
        self.receive_window = INITIAL_WINDOW
        self.credit = 0
        self.request_ended = request_ended


class FrameWriter:
    """Writes frames into a buffer, from which the connection sends them. `streams` are those that are not over;
    `send_window` and `receive_window` are the connection's own. `ClientFrames` opens streams and moves the windows as
    the client says."""

    __slots__ = (
        "_credit",
        "_unsent",
        "budget",
        "encoder",
        "receive_window",
        "resets",
        "send_window",
        "streams",
    )

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.streams: dict[int, Flow] = {}
        self.encoder = Encoder()
        self.resets: dict[int, bool] = {}
        """Streams that were reset lately: True where the client did it."""
        self.send_window = INITIAL_WINDOW
        self.receive_window = CONNECTION_WINDOW
        self._credit = 0
        self._unsent = bytearray(_HELLO)

    @property
    def unsent_bytes(self) -> int:
        """The number of bytes that `data_to_send` would return."""
        return len(self._unsent)

    def data_to_send(self) -> bytes:
        """Empty the buffer and return what was in it."""
        data = bytes(self._unsent)
        self._unsent.clear()
        return data

    # answers

    def room(self, id: int) -> int:
        """How many bytes of data the windows allow on a stream."""
        return min(self.send_window, self.streams[id].send_window)

    def send_headers(self, id: int, status: int, fields: list[AnswerField], ended: bool) -> None:
        """A head of an answer, or with status 0 its trailers."""
        block = self.encoder.encode(status, fields)
        flags = END_STREAM if ended else 0
        if len(block) <= FRAME_BYTES:
            self._unsent += frame(HEADERS, flags | END_HEADERS, id, block)
        else:
            self._unsent += frame(HEADERS, flags, id, block[:FRAME_BYTES])
            for at in range(FRAME_BYTES, len(block), FRAME_BYTES):
                last = at + FRAME_BYTES >= len(block)
                part = block[at : at + FRAME_BYTES]
                self._unsent += frame(h2wire.CONTINUATION, END_HEADERS if last else 0, id, part)
        if ended:
            self._end_answer(id)

    def send_body(self, id: int, data: bytes | bytearray, ended: bool, curbed: bool) -> None:
        """A frame of data that fits into the windows. `curbed`: the windows made it smaller than it could have been."""
        size = len(data)
        self.send_window -= size
        self.streams[id].send_window -= size
        self._unsent += b"%b\0%c%b" % (size.to_bytes(3, "big"), END_STREAM if ended else 0, number(id))
        self._unsent += data
        self.budget.earn(size, curbed)
        if ended:
            self._end_answer(id)

    def _end_answer(self, id: int) -> None:
        """The answer is complete; the stream is over if the request is complete, too."""
        if self.streams[id].request_ended:
            del self.streams[id]

    # windows

    def acknowledge(self, id: int, size: int) -> None:
        """Give `size` bytes back to the windows of the connection and, unless it is over, of the stream. The client
        is sent an update when half of a window has come together."""
        self._credit += size
        if self._credit >= CONNECTION_WINDOW // 2:
            self._unsent += frame(WINDOW_UPDATE, 0, 0, number(self._credit))
            self.receive_window += self._credit
            self._credit = 0
        stream = self.streams.get(id)
        if stream is not None and not stream.request_ended:
            stream.credit += size
            if stream.credit >= INITIAL_WINDOW // 2:
                self._unsent += frame(WINDOW_UPDATE, 0, id, number(stream.credit))
                stream.receive_window += stream.credit
                stream.credit = 0

    # streams end

    def reset(self, id: int, code: int) -> None:
        """Close a stream with an error code (RFC 9113 7), unless it is closed already."""
        if code in _CLIENT_ERRORS:
            self.budget.reset()
        if id in self.streams:
            self._unsent += frame(RST_STREAM, 0, id, number(code))
            self.forget(id, by_client=False)

    def fail(self, id: int, code: int) -> None:
        """Answer an error of the client that concerns one stream: it ends that stream only (RFC 9113 5.4.2)."""
        self.budget.reset()
        self._unsent += frame(RST_STREAM, 0, id, number(code))
        self.forget(id, by_client=id not in self.streams)

    def forget(self, id: int, *, by_client: bool) -> None:
        """A stream was reset; remember for a while which side did it."""
        self.streams.pop(id, None)
        if len(self.resets) >= REMEMBERED_RESETS:
            del self.resets[next(iter(self.resets))]
        self.resets[id] = by_client

    # the connection

    def confirm_settings(self) -> None:
        """The client's settings are in force."""
        self._unsent += frame(h2wire.SETTINGS, h2wire.ACK, 0)

    def answer_ping(self, payload: bytes) -> None:
        self._unsent += frame(h2wire.PING, h2wire.ACK, 0, payload)

    def announce_goodbye(self) -> None:
        """Announce the end, but still accept streams that the client opens before it reads this (RFC 9113 6.8). The
        client's answer to the PING shows that it has: the event is ANSWERED."""
        self.say_goodbye(h2wire.ANY_STREAM, h2wire.NO_ERROR)
        self._unsent += frame(h2wire.PING, 0, 0, FAREWELL)

    def say_goodbye(self, last: int, code: int) -> None:
        """No stream after `last` is accepted; those up to it go on, unless `code` is an error."""
        self._unsent += frame(h2wire.GOAWAY, 0, 0, number(last) + number(code))

    def close(self) -> None:
        """The connection has been closed."""
        self.streams.clear()

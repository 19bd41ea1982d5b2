"""The frames of one connection of HTTP/2, both ways: states of streams, windows, limits (RFC 9113 sections 5 and 6)."""

from __future__ import annotations

from typing import Final

from router.front.h2budget import Budget
from router.wire import h2wire
from router.wire.h2fields import AnswerField, RequestField
from router.wire.h2reader import FrameReader
from router.wire.h2wire import (
    DATA,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    FRAME_BYTES,
    HEADERS,
    INITIAL_WINDOW,
    MAX_WINDOW,
    PROTOCOL_ERROR,
    RST_STREAM,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    ConnectionFailed,
    frame,
    number,
    read_number,
)
from router.wire.hpack import TABLE_BYTES, BadBlock, Decoder, Encoder, LargeBlock

MAX_STREAMS: Final = 100
STREAMS_BEFORE_FAILURE: Final = 256
"""Above MAX_STREAMS each stream is refused; from here on the connection ends."""
MAX_HEADER_LIST_BYTES: Final = 48 * 1024
CONNECTION_WINDOW: Final = 1024 * 1024
REMEMBERED_RESETS: Final = 1024

REQUEST, BODY, TRAILERS, OVER, WINDOW, ANSWERED = range(6)
_CLIENT_ERRORS: Final = (PROTOCOL_ERROR, h2wire.REFUSED_STREAM)
_FAREWELL: Final = b"farewell"
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


class Event:
    """What frames mean, in their order. By kind: REQUEST (`fields`, `ended`), BODY (`data`, `size` bytes of the
    windows, padding included, `ended`), TRAILERS (`fields`), OVER: the stream has been reset, WINDOW: more may be sent,
    on all streams where `id` is 0, ANSWERED: a PING of ours has come back."""

    __slots__ = ("data", "ended", "fields", "id", "kind", "size")

    def __init__(self, kind: int, id: int, ended: bool = False) -> None:
        self.kind = kind
        self.id = id
        self.ended = ended
        self.size = 0
        self.data = b""
        self.fields: list[RequestField] = []


class Flow:
    """A stream that is not over. `send_window` is what may be sent, `receive_window` what the client may send, `credit`
    what has been taken and not yet given back to it."""

    __slots__ = ("credit", "receive_window", "request_ended", "send_window")

    def __init__(self, send_window: int, request_ended: bool) -> None:
        self.send_window = send_window
        self.receive_window = INITIAL_WINDOW
        self.credit = 0
        self.request_ended = request_ended


class Frames(FrameReader):
    """`streams` are those that are not over; `leaving` says that the client opens no more."""

    __slots__ = (
        "_budget",
        "_credit",
        "_decoder",
        "_events",
        "_first_skipped",
        "_highest",
        "_initial_window",
        "_receive_window",
        "_resets",
        "_send_window",
        "_unsent",
        "encoder",
        "leaving",
        "streams",
    )

    def __init__(self, now: float) -> None:
        super().__init__()
        self.streams: dict[int, Flow] = {}
        self.leaving = False
        self.encoder = Encoder()
        self._decoder = Decoder(MAX_HEADER_LIST_BYTES)
        self._budget = Budget(now)
        self._highest = -1
        """The last stream that the client has opened."""
        self._first_skipped = 0
        """The first that it has left out."""
        self._resets: dict[int, bool] = {}
        """The streams that were reset lately; whether the client did it."""
        self._initial_window = self._send_window = INITIAL_WINDOW
        self._receive_window = CONNECTION_WINDOW
        self._credit = 0
        self._events: list[Event] = []
        self._unsent = bytearray(_HELLO)

    # in

    def read(self, data: bytes, now: float) -> list[Event] | None:
        """The events in these bytes; None when they end the connection (the GOAWAY is ready to be sent)."""
        self._budget.refill(now)
        try:
            self.feed(data)
        except ConnectionFailed as error:
            self._go_away(self._last_stream(), error.code)
            self._events = []
            return None
        events, self._events = self._events, []
        return events

    def accept(self, kind: int, flags: int, id: int, payload: bytes) -> None:
        if kind == HEADERS:
            self._budget.spend(float(self.continuations))
            self._head(flags, id, payload)
            return
        if kind == DATA:
            self._data(flags, id, payload)
            return
        self._budget.spend(1.0)
        h2wire.check_frame(kind, flags, id, len(payload))
        if kind == WINDOW_UPDATE:
            self._window_update(id, read_number(payload, 0))
        elif kind == RST_STREAM:
            self._rst_stream(id)
        elif kind == h2wire.SETTINGS:
            if not flags & h2wire.ACK:
                self._settings(h2wire.read_settings(payload))
        elif kind == h2wire.PING:
            if not flags & h2wire.ACK:
                self._unsent += frame(h2wire.PING, h2wire.ACK, 0, payload)
            elif payload == _FAREWELL:
                self._events.append(Event(ANSWERED, 0))
        elif kind == h2wire.GOAWAY:
            self.leaving = True
        elif kind == h2wire.PRIORITY and read_number(payload, 0) == id:
            raise ConnectionFailed(PROTOCOL_ERROR)

    def _head(self, flags: int, id: int, block: bytes) -> None:
        """A complete header block begins a request or ends one. It is decoded even if the stream is then refused: the
        tables of both ends must stay equal."""
        if not id & 1:
            raise ConnectionFailed(PROTOCOL_ERROR)
        try:
            fields = self._decoder.decode(block)
        except BadBlock as error:
            large = isinstance(error, LargeBlock)
            code = h2wire.ENHANCE_YOUR_CALM if large else h2wire.COMPRESSION_ERROR
            raise ConnectionFailed(code) from error
        ended = flags & END_STREAM != 0
        stream = self.streams.get(id)
        if id > self._highest:
            self._open(id, ended)
            event = Event(REQUEST, id, ended)
        elif stream is None:
            self._late(id)
            return
        elif stream.request_ended:
            self._fail_stream(id, STREAM_CLOSED)
            return
        elif not ended:
            self._fail_stream(id, PROTOCOL_ERROR)
            return
        else:
            stream.request_ended = True
            event = Event(TRAILERS, id, True)
        if flags & h2wire.ON_ITSELF:
            self._fail_stream(id, PROTOCOL_ERROR)
            return
        event.fields = fields
        self._events.append(event)

    def _open(self, id: int, ended: bool) -> None:
        if len(self.streams) >= STREAMS_BEFORE_FAILURE:
            raise ConnectionFailed(PROTOCOL_ERROR)
        if id != self._highest + 2 and not self._first_skipped:
            self._first_skipped = self._highest + 2
        self._highest = id
        self.streams[id] = Flow(self._initial_window, ended)

    def _late(self, id: int) -> None:
        """DATA or HEADERS of a stream that is over. If we reset it, they may have been sent before the client knew, and
        are ignored (RFC 9113 5.1)."""
        by_client = self._resets.get(id)
        if by_client:
            self._fail_stream(id, STREAM_CLOSED)
        elif by_client is None:
            skipped = 0 < self._first_skipped <= id
            raise ConnectionFailed(PROTOCOL_ERROR if skipped else STREAM_CLOSED)

    def _data(self, flags: int, id: int, payload: bytes) -> None:
        self._check_opened(id)
        size = len(payload)
        data = h2wire.unpadded(flags, payload)
        ended = flags & END_STREAM != 0
        self._budget.spend_on_data(len(data), ended)
        self._receive_window -= size
        if self._receive_window < 0:
            raise ConnectionFailed(FLOW_CONTROL_ERROR)
        stream = self.streams.get(id)
        if stream is None:
            self.acknowledge(id, size)
            self._late(id)
        elif stream.request_ended:
            self.acknowledge(id, size)
            self._fail_stream(id, STREAM_CLOSED)
        else:
            stream.receive_window -= size
            if stream.receive_window < 0:
                raise ConnectionFailed(FLOW_CONTROL_ERROR)
            stream.request_ended = ended
            event = Event(BODY, id, ended)
            event.data = data
            event.size = size
            self._events.append(event)

    def _check_opened(self, id: int) -> None:
        """Only a stream that the client has opened has frames (RFC 9113 5.1)."""
        if not id & 1 or id > self._highest:
            raise ConnectionFailed(PROTOCOL_ERROR)

    def _window_update(self, id: int, increment: int) -> None:
        if id == 0:
            if not increment:
                raise ConnectionFailed(PROTOCOL_ERROR)
            self._send_window += increment
            if self._send_window > MAX_WINDOW:
                raise ConnectionFailed(FLOW_CONTROL_ERROR)
        else:
            self._check_opened(id)
            stream = self.streams.get(id)
            if stream is None:
                return
            stream.send_window += increment
            if not increment or stream.send_window > MAX_WINDOW:
                self._fail_stream(id, FLOW_CONTROL_ERROR if increment else PROTOCOL_ERROR)
                return
        self._events.append(Event(WINDOW, id))

    def _rst_stream(self, id: int) -> None:
        self._check_opened(id)
        if id in self.streams:
            self._budget.reset()
            self._forget(id, by_client=True)
            self._events.append(Event(OVER, id))

    def _settings(self, values: dict[int, int]) -> None:
        window = values.get(h2wire.INITIAL_WINDOW_SIZE, self._initial_window)
        for stream in self.streams.values():
            stream.send_window += window - self._initial_window
            if stream.send_window > MAX_WINDOW:
                raise ConnectionFailed(FLOW_CONTROL_ERROR)
        self._initial_window = window
        table = values.get(h2wire.HEADER_TABLE_SIZE)
        if table is not None:
            self.encoder.resize(table)
        self._unsent += frame(h2wire.SETTINGS, h2wire.ACK, 0)
        self._events.append(Event(WINDOW, 0))

    # streams end

    def _fail_stream(self, id: int, code: int) -> None:
        """An error that concerns one stream ends that one only (RFC 9113 5.4.2)."""
        self._budget.reset()
        self._unsent += frame(RST_STREAM, 0, id, number(code))
        self._forget(id, by_client=id not in self.streams)
        self._events.append(Event(OVER, id))

    def _forget(self, id: int, *, by_client: bool) -> None:
        self.streams.pop(id, None)
        if len(self._resets) >= REMEMBERED_RESETS:
            del self._resets[next(iter(self._resets))]
        self._resets[id] = by_client

    def reset(self, id: int, code: int) -> None:
        """Close a stream with an error code (RFC 9113 7); it may be closed already."""
        if code in _CLIENT_ERRORS:
            self._budget.reset()
        if id in self.streams:
            self._unsent += frame(RST_STREAM, 0, id, number(code))
            self._forget(id, by_client=False)

    def close(self) -> None:
        """The connection has been closed."""
        self.streams.clear()

    # out

    @property
    def unsent_bytes(self) -> int:
        """How many bytes `data_to_send` would give."""
        return len(self._unsent)

    def data_to_send(self) -> bytes:
        """Take the bytes that are to be sent."""
        data = bytes(self._unsent)
        self._unsent.clear()
        return data

    def room(self, id: int) -> int:
        """How many bytes of data the windows allow on a stream."""
        return min(self._send_window, self.streams[id].send_window)

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
        """A frame of data; the windows have room for it, `curbed` says that they would not have had for more."""
        size = len(data)
        self._send_window -= size
        self.streams[id].send_window -= size
        self._unsent += b"%b\0%c%b" % (size.to_bytes(3, "big"), END_STREAM if ended else 0, number(id))
        self._unsent += data
        self._budget.earn(size, curbed)
        if ended:
            self._end_answer(id)

    def _end_answer(self, id: int) -> None:
        """The stream is over, or half of it."""
        if self.streams[id].request_ended:
            del self.streams[id]

    def acknowledge(self, id: int, size: int) -> None:
        """So many bytes of the windows are free again; for a stream that is over, of the connection's only. It is said
        when it has become half of a window."""
        self._credit += size
        if self._credit >= CONNECTION_WINDOW // 2:
            self._unsent += frame(WINDOW_UPDATE, 0, 0, number(self._credit))
            self._receive_window += self._credit
            self._credit = 0
        stream = self.streams.get(id)
        if stream is not None and not stream.request_ended:
            stream.credit += size
            if stream.credit >= INITIAL_WINDOW // 2:
                self._unsent += frame(WINDOW_UPDATE, 0, id, number(stream.credit))
                stream.receive_window += stream.credit
                stream.credit = 0

    def announce_goodbye(self) -> None:
        """Announce the end and still accept streams that cross it (RFC 9113 6.8). The event ANSWERED follows when the
        client has read the announcement: no stream crosses it any more."""
        self._go_away(h2wire.ANY_STREAM, h2wire.NO_ERROR)
        self._unsent += frame(h2wire.PING, 0, 0, _FAREWELL)

    def say_goodbye(self) -> None:
        """Say that no streams are taken from here on; those that are there go on."""
        self._go_away(self._last_stream(), h2wire.NO_ERROR)

    def _last_stream(self) -> int:
        return max(0, self._highest)

    def _go_away(self, last: int, code: int) -> None:
        self._unsent += frame(h2wire.GOAWAY, 0, 0, number(last) + number(code))

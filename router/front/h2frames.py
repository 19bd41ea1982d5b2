"""What the frames of a client of HTTP/2 mean: states of streams, windows, limits (RFC 9113 sections 5 and 6)."""

from __future__ import annotations

from typing import Final

from router.front.h2budget import Budget
from router.front.h2writer import FAREWELL, MAX_HEADER_LIST_BYTES, Flow, FrameWriter
from router.wire import h2wire
from router.wire.h2fields import RequestField
from router.wire.h2reader import FrameReader
from router.wire.h2wire import (
    DATA,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    HEADERS,
    INITIAL_WINDOW,
    MAX_WINDOW,
    PROTOCOL_ERROR,
    RST_STREAM,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    ConnectionFailed,
    read_number,
)
from router.wire.hpack import BadBlock, Decoder, LargeBlock

STREAMS_BEFORE_FAILURE: Final = 256
"""A stream above MAX_STREAMS is refused; with so many open ones, a new one ends the connection."""

REQUEST, BODY, TRAILERS, OVER, WINDOW, ANSWERED = range(6)


class Event:
    """What a frame means. The kinds: REQUEST (with `fields`, `ended`); BODY (with `data`, `ended`, and `size`, the
    bytes that it uses of the windows, padding included); TRAILERS (with `fields`); OVER: the stream has been reset;
    WINDOW: more may be sent on the stream, or on all streams if `id` is 0; ANSWERED: the client has answered the PING
    of `FrameWriter.announce_goodbye`."""

    __slots__ = ("data", "ended", "fields", "id", "kind", "size")

    def __init__(self, kind: int, id: int, ended: bool = False) -> None:
        self.kind = kind
        self.id = id
        self.ended = ended
        self.size = 0
        self.data = b""
        self.fields: list[RequestField] = []


class ClientFrames(FrameReader):
    """`leaving`: the client opens no more streams. `writer` answers the frames that need an answer."""

    __slots__ = (
        "_budget",
        "_decoder",
        "_events",
        "_first_skipped",
        "_highest",
        "_initial_window",
        "leaving",
        "streams",
        "writer",
    )

    def __init__(self, now: float) -> None:
        super().__init__()
        self._budget = Budget(now)
        self.writer = FrameWriter(self._budget)
        self.streams: dict[int, Flow] = self.writer.streams
        """Those of the writer: the same dictionary."""
        self.leaving = False
        self._decoder = Decoder(MAX_HEADER_LIST_BYTES)
        self._highest = -1
        """The last stream that the client has opened."""
        self._first_skipped = 0
        """The first number that the client did not use; 0 while there is none."""
        self._initial_window = INITIAL_WINDOW
        """What the client lets be sent on a stream that it opens."""
        self._events: list[Event] = []

    @property
    def last_stream(self) -> int:
        """The last stream that the client has opened; 0 before the first."""
        return max(0, self._highest)

    def read(self, data: bytes, now: float) -> list[Event] | None:
        """The events in these bytes; None when they end the connection (the GOAWAY is ready to be sent)."""
        self._budget.refill(now)
        try:
            self.feed(data)
        except ConnectionFailed as error:
            self.writer.say_goodbye(self.last_stream, error.code)
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
                self.writer.answer_ping(payload)
            elif payload == FAREWELL:
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
        """DATA or HEADERS of a stream that is over. If the router reset it, the client may have sent them before it
        knew, and they are ignored (RFC 9113 5.1)."""
        by_client = self.writer.resets.get(id)
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
        self.writer.receive_window -= size
        if self.writer.receive_window < 0:
            raise ConnectionFailed(FLOW_CONTROL_ERROR)
        stream = self.streams.get(id)
        if stream is None:
            self.writer.acknowledge(id, size)
            self._late(id)
        elif stream.request_ended:
            self.writer.acknowledge(id, size)
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
            self.writer.send_window += increment
            if self.writer.send_window > MAX_WINDOW:
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
            self.writer.forget(id, by_client=True)
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
            self.writer.encoder.resize(table)
        self.writer.confirm_settings()
        self._events.append(Event(WINDOW, 0))

    def _fail_stream(self, id: int, code: int) -> None:
        self.writer.fail(id, code)
        self._events.append(Event(OVER, id))

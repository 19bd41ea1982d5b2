"""A client of HTTP/2 at the end of a socket pair to the in-process router: the library `h2`, or raw frames."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)

from harness.router import ADDRESS, PORT, End, Rig
from router.front.h2 import Http2Connection

Fields = list[tuple[bytes, bytes]]


@dataclass
class Answer:
    """What came on one stream. `reset` is the error code of a RST_STREAM."""

    fields: Fields = field(default_factory=list)
    interims: list[Fields] = field(default_factory=list)
    body: bytes = b""
    trailers: Fields = field(default_factory=list)
    ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> bytes:
        return dict(self.fields)[b":status"] if self.fields else b""

    def __getitem__(self, name: bytes) -> bytes:
        return dict(self.fields)[name]


class Visitor:
    """`answers` by stream; bytes of bodies are acknowledged at once, except on streams in `lazy`. `goaway` is the
    error code of a GOAWAY, `order` the streams of DATA frames as they came."""

    def __init__(self, rig: Rig, end: End | None = None, *, hello: bool = True, window: int = 65535) -> None:
        self.rig = rig
        if end is None:
            self.end, fd = rig._pair()
            self.server = Http2Connection(rig.shared, fd, ADDRESS, PORT)
        else:  # which has agreed upon HTTP/2 by TLS
            self.end = end
            (self.server,) = (c for c in rig.shared.clients if isinstance(c, Http2Connection))
        self.answers: dict[int, Answer] = defaultdict(Answer)
        self.lazy: set[int] = set()
        self.order: list[int] = []
        self.events: list[Event] = []
        self.goaway: int | None = None
        self.h2 = H2Connection(
            H2Configuration(
                client_side=True,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        if hello:
            self.h2.initiate_connection()
            if window != 65535:
                self.h2.update_settings({4: window})
            self.flush()

    @property
    def closed(self) -> bool:
        self.end.read()
        return self.end.closed

    def flush(self) -> None:
        """Send what the library wants sent, let the router work, take what comes, until nothing comes any more."""
        while True:
            data = self.h2.data_to_send()
            if data:
                self.end.send(data)
            else:
                self.rig.run()
            if not self.read() and not data:
                return

    def read(self) -> bool:
        """Take what has come; whether that was anything."""
        data = self.end.take()
        for event in self.h2.receive_data(data) if data else []:
            self._on(event)
        return bool(data)

    def _on(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, ConnectionTerminated):
            self.goaway = int(event.error_code or 0)
            return
        answer = self.answers[getattr(event, "stream_id", None) or 0]
        if isinstance(event, ResponseReceived):
            answer.fields = [(bytes(n), bytes(v)) for n, v in event.headers]
        elif isinstance(event, InformationalResponseReceived):
            answer.interims.append([(bytes(n), bytes(v)) for n, v in event.headers])
        elif isinstance(event, DataReceived):
            answer.body += event.data
            self.order.append(event.stream_id)
            if event.stream_id not in self.lazy:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, TrailersReceived):
            answer.trailers = [(bytes(n), bytes(v)) for n, v in event.headers]
        elif isinstance(event, StreamEnded):
            answer.ended = True
        elif isinstance(event, StreamReset):
            answer.reset = int(event.error_code)

    def request(
        self,
        path: bytes = b"/",
        *more: tuple[bytes, bytes],
        method: bytes = b"GET",
        body: bytes | None = None,
        end: bool = True,
        send: bool = True,
    ) -> int:
        """Begin a request for app.test, with a body where that is given; the stream's number."""
        fields = [
            (b":method", method),
            (b":scheme", b"https"),
            (b":authority", b"app.test"),
            (b":path", path),
            *more,
        ]
        return self.begin(fields, body=body, end=end, send=send)

    def begin(self, fields: Fields, *, body: bytes | None = None, end: bool = True, send: bool = True) -> int:
        """The same with exactly these fields."""
        id = self.h2.get_next_available_stream_id()
        self.h2.send_headers(id, fields, end_stream=end and body is None)
        if send:
            self.flush()
        if body is not None:
            self.upload(id, body, end=end)
        return id

    def upload(self, id: int, body: bytes, *, end: bool = False) -> int:
        """Send a part of a body as far as the windows allow; how many bytes went."""
        sent = 0
        while sent < len(body):
            window = min(self.h2.local_flow_control_window(id), self.h2.max_outbound_frame_size)
            if not window:
                self.flush()
                if not self.h2.local_flow_control_window(id):
                    return sent
                continue
            part = body[sent : sent + window]
            sent += len(part)
            self.h2.send_data(id, part, end_stream=end and sent == len(body))
        if not body and end:
            self.h2.end_stream(id)
        self.flush()
        return sent

    def reset(self, id: int, code: int = 8) -> None:
        self.h2.reset_stream(id, code)
        self.flush()


def served(rig: Rig, response: bytes) -> End:
    """Let the newest backend connection answer."""
    backend = rig.backend
    backend.send(response)
    return backend


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """The bytes of any frame."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0)


def literal(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A header block of literals without indexing, of names and values below 127 bytes (RFC 7541 6.2.2)."""
    return b"".join(b"\0%c%b%c%b" % (len(n), n, len(v), v) for n, v in fields)


BASIC = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"app.test"), (b":path", b"/")]
HEAD = literal(BASIC)


def codes(data: bytes) -> tuple[int | None, dict[int, int]]:
    """The error code of the GOAWAY among these frames, and those of the first RST_STREAM of each stream."""
    goaway, resets = None, {}
    while data:
        size = int.from_bytes(data[:3], "big")
        if data[3] == GOAWAY:
            goaway = int.from_bytes(data[13:17], "big")
        elif data[3] == RST_STREAM:
            resets.setdefault(int.from_bytes(data[5:9], "big"), int.from_bytes(data[9:13], "big"))
        data = data[9 + size :]
    return goaway, resets

"""The frames of one connection: the library `h2`, with the limits that a public server needs around it.

What a client sends costs patience, which grows back with time: frames that carry nothing (pings, settings, priorities,
data in crumbs …) a little, each stream that is reset after it was opened much, whoever resets it (CVE-2023-44487 and its
kin). A client that uses it up is sent away with ENHANCE_YOUR_CALM. Imported by the first connection that needs it.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final, Protocol, TypeVar

from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    PingAckReceived,
    RemoteSettingsChanged,
    RequestReceived,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import DenialOfServiceError, InvalidBodyLengthError, ProtocolError
from h2.settings import SettingCodes, Settings
from hpack.exceptions import HPACKError
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame

from router.front.h2 import MAX_STREAMS

MAX_HEADER_LIST_BYTES: Final = 48 * 1024
CONNECTION_WINDOW: Final = 1024 * 1024
TABLE_BYTES: Final = 4096

PATIENCE: Final = 2000.0
PATIENCE_PER_S: Final = 200.0
RESET_COST: Final = 10.0
EARNED_PER_FRAME: Final = 4.0
EARNING_BYTES: Final = 1024
CRUMB_BYTES: Final = 256
CRUMB_COST: Final = 0.25
"""Of data in frames that are smaller: each costs us as much as one of 16 KiB."""

_CLIENT_ERRORS: Final = (ErrorCodes.PROTOCOL_ERROR, ErrorCodes.REFUSED_STREAM)
_KNOWN_SETTINGS: Final = frozenset(SettingCodes)
_INNER_STREAMS: Final = 256
"""Above MAX_STREAMS each stream is refused; from here on it is the connection that ends."""
_FAREWELL: Final = b"farewell"
_ANY_STREAM: Final = 2**31 - 1

Item = TypeVar("Item")


class Sink(Protocol):
    """What the frames that have come mean, in their order."""

    def request(self, id: int, fields: list[tuple[bytes, bytes]], ended: bool) -> None: ...

    def body(self, id: int, data: bytes, size: int, ended: bool) -> None:
        """`size` is what the data takes of the windows, padding included."""

    def trailers(self, id: int, fields: list[tuple[bytes, bytes]]) -> None: ...

    def over(self, id: int) -> None:
        """The stream has been reset, by either side."""

    def window(self, id: int) -> None:
        """More may be sent on a stream, or (0) on all."""

    def answered(self) -> None:
        """A PING has come back: the client has read what was sent before."""


class _Few(list[Item]):
    """As much of a deque as the library needs, in a tenth of the memory: idle connections are many."""

    __slots__ = ()

    def popleft(self) -> Item:
        return self.pop(0)

    def appendleft(self, item: Item) -> None:
        self.insert(0, item)


class _RemoteSettings(Settings):
    """What the client has set."""

    def __init__(self) -> None:
        super().__init__(client=True)
        self._settings: dict[Any, Any] = {code: _Few(values) for code, values in self._settings.items()}

    def __setitem__(self, key: Any, value: int) -> None:
        self._settings.setdefault(key, _Few([None]))
        super().__setitem__(key, value)


def _settings(streams: int) -> Settings:
    return Settings(
        client=False,
        initial_values={
            SettingCodes.MAX_CONCURRENT_STREAMS: streams,
            SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST_BYTES,
        },
    )


_CONFIGURATION: Final = H2Configuration(
    client_side=False,
    header_encoding=None,
    validate_inbound_headers=False,
    normalize_inbound_headers=False,
    validate_outbound_headers=False,
    normalize_outbound_headers=False,
)
_SAID: Final = _settings(MAX_STREAMS)
_MEANT: Final = _settings(_INNER_STREAMS)
"""Settings of ours, the same for all connections: they never change."""


class Frames(H2Connection):
    """`leaving` says that the client opens no more streams."""

    MAX_CLOSED_STREAMS = 1024

    def __init__(self, now: float) -> None:
        super().__init__(_CONFIGURATION)
        self.remote_settings = _RemoteSettings()
        for coder in (self.encoder, self.decoder):
            table: Any = coder.header_table
            table.dynamic_entries = _Few()
        self.leaving = False
        self._patience = PATIENCE
        self._patience_at = now
        self.local_settings = _SAID
        self.decoder.max_header_list_size = MAX_HEADER_LIST_BYTES
        self.initiate_connection()
        self.increment_flow_control_window(CONNECTION_WINDOW - self.inbound_flow_control_window)
        self.local_settings = _MEANT

    # in

    def take(self, data: bytes, now: float, to: Sink) -> bool:
        """Tell what these bytes mean; False when they end the connection (the GOAWAY is ready to be sent)."""
        self._patience = min(PATIENCE, self._patience + (now - self._patience_at) * PATIENCE_PER_S)
        self._patience_at = now
        try:
            events = self.receive_data(data)
        except ProtocolError as error:
            if self.state_machine.state is not ConnectionState.CLOSED:  # it was not even the preface
                self.close_connection(error.error_code)
            return False
        for event in events:
            _tell(event, to)
        return True

    def _receive_frame(self, frame: Frame) -> list[Event]:
        """As the library does it, but the client's GOAWAY lets the streams under way finish, and an error that
        concerns one stream ends that one only."""
        if isinstance(frame, GoAwayFrame):
            self.leaving = True
            return []
        if isinstance(frame, SettingsFrame):  # each one that is kept costs memory
            frame.settings = {code: n for code, n in frame.settings.items() if code in _KNOWN_SETTINGS}
        self._patience -= _cost(frame)
        if self._patience < 0:
            raise DenialOfServiceError("more than a client in its senses sends")
        if isinstance(frame, RstStreamFrame) and frame.stream_id > self.highest_inbound_stream_id:
            raise ProtocolError("a reset of what was never opened")
        try:
            events = super()._receive_frame(frame)
        except ProtocolError as error:
            if isinstance(error.__cause__, HPACKError) and not isinstance(error, DenialOfServiceError):
                error.error_code = ErrorCodes.COMPRESSION_ERROR
            if not self._concerns_one_stream(frame, error):
                raise
            if isinstance(frame, DataFrame):
                self.acknowledge_received_data(frame.flow_controlled_length, frame.stream_id)
            self.reset(frame.stream_id, ErrorCodes.PROTOCOL_ERROR)
            return [StreamReset(stream_id=frame.stream_id, remote_reset=False)]
        if isinstance(frame, SettingsFrame):
            self.encoder.header_table_size = min(self.encoder.header_table_size, TABLE_BYTES)
        self._patience -= RESET_COST * sum(isinstance(event, StreamReset) for event in events)
        return events

    def _concerns_one_stream(self, frame: Frame, error: ProtocolError) -> bool:
        """An error in what a request says, where the state of the connection and of compression is sound."""
        return (
            type(error) in (ProtocolError, InvalidBodyLengthError)
            and error.__cause__ is None
            and isinstance(frame, HeadersFrame | DataFrame)
            and frame.stream_id in self.streams
        )

    def alive(self, id: int) -> bool:
        """Whether the stream is there and has not been closed."""
        stream = self.streams.get(id)
        return stream is not None and not stream.closed

    # out

    @property
    def unsent_bytes(self) -> int:
        """How much `data_to_send` would give."""
        return len(self._data_to_send)

    def room(self, id: int) -> int:
        """How many bytes of data the windows allow on a stream."""
        return min(self.outbound_flow_control_window, self.streams[id].outbound_flow_control_window)

    def send_body(self, id: int, data: bytes | bytearray, ended: bool, curbed: bool) -> None:
        """A frame of data; the windows have room for it, `curbed` says that they would not have had for more."""
        size = len(data)
        if ended:
            self.send_data(id, bytes(data), end_stream=True)
        else:  # the same, without the objects: it changes no state, and a large body is many frames
            self.outbound_flow_control_window -= size
            self.streams[id].outbound_flow_control_window -= size
            self._data_to_send += b"%b\0\0%b" % (size.to_bytes(3, "big"), id.to_bytes(4, "big"))
            self._data_to_send += data
        if not curbed or size >= EARNING_BYTES:  # the client will say that it has them
            self._patience += EARNED_PER_FRAME

    def acknowledge(self, id: int, size: int) -> None:
        """So many bytes of the windows are free again; for a stream that is over, of the connection's only."""
        with contextlib.suppress(ProtocolError):
            self.acknowledge_received_data(size, id)

    def reset(self, id: int, code: int) -> None:
        """Close a stream with an error code (RFC 9113 7); it may be closed already."""
        if code in _CLIENT_ERRORS:
            self._patience -= RESET_COST
        with contextlib.suppress(ProtocolError):
            self.reset_stream(id, code)

    def close(self) -> None:
        """Nothing more will be asked: let go of what holds itself, which the collector would find late if ever."""
        self._frame_dispatch_table.clear()
        self.streams.clear()

    def announce_goodbye(self) -> None:
        """Ask for no more streams, and take those that are under way (RFC 9113 6.8); `answered` says when none is."""
        self._go_away(_ANY_STREAM)
        self.ping(_FAREWELL)

    def say_goodbye(self) -> None:
        """Say that no streams are taken from here on; those that are there go on (the library would stop them)."""
        self._go_away(self.highest_inbound_stream_id)

    def _go_away(self, last: int) -> None:
        self._prepare_for_sending([GoAwayFrame(0, last_stream_id=last, error_code=ErrorCodes.NO_ERROR)])


def _cost(frame: Frame) -> float:
    if isinstance(frame, HeadersFrame):
        return 0.0
    if isinstance(frame, DataFrame):
        if len(frame.data) >= CRUMB_BYTES or "END_STREAM" in frame.flags:
            return 0.0
        return CRUMB_COST if frame.data else 1.0
    return 1.0


def _tell(event: Any, to: Sink) -> None:
    if isinstance(event, RequestReceived):
        to.request(event.stream_id, event.headers, event.stream_ended is not None)
    elif isinstance(event, DataReceived):
        to.body(event.stream_id, event.data, event.flow_controlled_length, event.stream_ended is not None)
    elif isinstance(event, TrailersReceived):
        to.trailers(event.stream_id, event.headers)
    elif isinstance(event, StreamReset):
        to.over(event.stream_id)
    elif isinstance(event, WindowUpdated):
        to.window(event.stream_id)
    elif isinstance(event, RemoteSettingsChanged):
        to.window(0)
    elif isinstance(event, PingAckReceived):
        to.answered()

"""Frames of HTTP/2 as bytes (RFC 9113 sections 4 and 6): kinds, flags, error codes, padding, settings. Pure."""

from __future__ import annotations

from typing import Final

DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

ACK: Final = 0x1
END_STREAM: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
HAS_PRIORITY: Final = 0x20
ON_ITSELF: Final = 0x100
"""No flag of a frame: the stream says that it depends on itself."""

NO_ERROR: Final = 0
PROTOCOL_ERROR: Final = 1
INTERNAL_ERROR: Final = 2
FLOW_CONTROL_ERROR: Final = 3
STREAM_CLOSED: Final = 5
FRAME_SIZE_ERROR: Final = 6
REFUSED_STREAM: Final = 7
COMPRESSION_ERROR: Final = 9
ENHANCE_YOUR_CALM: Final = 11

HEADER_TABLE_SIZE: Final = 1
ENABLE_PUSH: Final = 2
MAX_CONCURRENT_STREAMS: Final = 3
INITIAL_WINDOW_SIZE: Final = 4
MAX_FRAME_SIZE: Final = 5
MAX_HEADER_LIST_SIZE: Final = 6

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends before its first frame."""
FRAME_HEAD_BYTES: Final = 9
FRAME_BYTES: Final = 16384
"""The largest payload that every peer takes, and the largest that we take."""
MAX_FRAME_BYTES: Final = 2**24 - 1
MAX_WINDOW: Final = 2**31 - 1
INITIAL_WINDOW: Final = 65535
ANY_STREAM: Final = 2**31 - 1
PRIORITY_BYTES: Final = 5
GOAWAY_BYTES: Final = 8
"""The shortest payload of GOAWAY."""


class ConnectionFailed(Exception):
    """A frame after which the connection cannot go on; `code` is for the GOAWAY."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def number(value: int) -> bytes:
    """Four bytes of it."""
    return value.to_bytes(4, "big")


def read_number(data: bytes, at: int) -> int:
    """The 31 bits of a stream's number or of a window; the highest bit is reserved."""
    return int.from_bytes(data[at : at + 4], "big") & 0x7FFFFFFF


def frame(kind: int, flags: int, id: int, payload: bytes = b"") -> bytes:
    """A frame with this payload."""
    return b"%b%c%c%b%b" % (len(payload).to_bytes(3, "big"), kind, flags, id.to_bytes(4, "big"), payload)


def settings(values: dict[int, int]) -> bytes:
    """A SETTINGS frame."""
    pairs = [key.to_bytes(2, "big") + number(value) for key, value in values.items()]
    return frame(SETTINGS, 0, 0, b"".join(pairs))


def read_settings(payload: bytes) -> dict[int, int]:
    """The last value of each setting. Raises ConnectionFailed for one that its meaning forbids."""
    values: dict[int, int] = {}
    for at in range(0, len(payload), 6):
        key = payload[at] << 8 | payload[at + 1]
        value = int.from_bytes(payload[at + 2 : at + 6], "big")
        if key == ENABLE_PUSH and value > 1:
            raise ConnectionFailed(PROTOCOL_ERROR)
        if key == INITIAL_WINDOW_SIZE and value > MAX_WINDOW:
            raise ConnectionFailed(FLOW_CONTROL_ERROR)
        if key == MAX_FRAME_SIZE and not FRAME_BYTES <= value <= MAX_FRAME_BYTES:
            raise ConnectionFailed(PROTOCOL_ERROR)
        values[key] = value
    return values


def unpadded(flags: int, payload: bytes) -> bytes:
    """The payload of DATA or HEADERS without its padding. Raises ConnectionFailed."""
    if not flags & PADDED:
        return payload
    if not payload:
        raise ConnectionFailed(FRAME_SIZE_ERROR)
    padding = payload[0]
    if padding >= len(payload):
        raise ConnectionFailed(PROTOCOL_ERROR)
    return payload[1 : len(payload) - padding]


def read_padded_block(flags: int, id: int, payload: bytes) -> tuple[int, bytes]:
    """The flags of HEADERS, perhaps with ON_ITSELF, and the header block in them. Raises ConnectionFailed."""
    if not flags & (PADDED | HAS_PRIORITY):
        return flags, payload
    block = unpadded(flags, payload)
    if flags & HAS_PRIORITY:
        if len(block) < PRIORITY_BYTES:
            raise ConnectionFailed(FRAME_SIZE_ERROR)
        if read_number(block, 0) == id:
            flags |= ON_ITSELF
        block = block[PRIORITY_BYTES:]
    return flags, block


def check_frame(kind: int, flags: int, id: int, size: int) -> None:
    """Whether a frame that is neither HEADERS nor DATA belongs where it came, to a stream or to the connection, and has
    the size that it must have. Raises ConnectionFailed."""
    whole = kind in (SETTINGS, PING, GOAWAY)
    if kind == PUSH_PROMISE or (kind in (PRIORITY, RST_STREAM) and not id) or (whole and id):
        raise ConnectionFailed(PROTOCOL_ERROR)
    exact = _SIZES.get(kind, size)
    if kind == SETTINGS:
        exact = 0 if flags & ACK else size - size % 6
    elif kind == GOAWAY:
        exact = max(size, GOAWAY_BYTES)
    if size != exact:
        raise ConnectionFailed(FRAME_SIZE_ERROR)


_SIZES: Final = {PRIORITY: PRIORITY_BYTES, RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}

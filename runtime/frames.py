"""Length-prefixed messages: JSON for control sockets, channel frames for attached terminals.

A JSON message is four bytes of big-endian length and that many bytes of UTF-8. An attach frame is one byte of
channel, four bytes of big-endian length and the payload. Sans-I/O decoders plus two blocking helpers.
"""

from __future__ import annotations

import json
import socket
import struct
from dataclasses import is_dataclass
from typing import Any

MAX_JSON_BYTES = 8 * 1024 * 1024
MAX_FRAME_BYTES = 64 * 1024

STDIN, STDOUT, STDERR, RESIZE, SIGNAL, EXIT = range(6)
"""Channels. RESIZE carries `rows columns` as two big-endian uint16; SIGNAL the name, `INT`; EXIT JSON
`{"status": n}`, as a shell would say it; an empty STDIN frame is end of input."""


class FrameError(ValueError):
    """The peer sent something that is not a frame."""


def encode_json(message: Any) -> bytes:
    """The frame of a message, in which a dataclass is the object of its fields. Raises FrameError for what the peer
    would refuse."""
    body = json.dumps(message, separators=(",", ":"), default=_fields).encode()
    if len(body) > MAX_JSON_BYTES:
        raise FrameError(f"a message of {len(body)} bytes is longer than {MAX_JSON_BYTES}")
    return struct.pack(">I", len(body)) + body


def _fields(value: Any) -> dict[str, Any]:
    if not is_dataclass(value):
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
    return vars(value)


class JsonDecoder:
    """Bytes in, messages out; keeps an incomplete tail."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Any]:
        self._buffer += data
        messages = []
        while len(self._buffer) >= 4:
            (length,) = struct.unpack_from(">I", self._buffer)
            if length > MAX_JSON_BYTES:
                raise FrameError(f"a message of {length} bytes is longer than {MAX_JSON_BYTES}")
            if len(self._buffer) < 4 + length:
                break
            body = bytes(self._buffer[4 : 4 + length])
            del self._buffer[: 4 + length]
            try:
                messages.append(json.loads(body))
            except (ValueError, RecursionError) as error:
                raise FrameError("a message is not JSON") from error
        return messages


def encode_frame(channel: int, payload: bytes = b"") -> bytes:
    return struct.pack(">BI", channel, len(payload)) + payload


class FrameDecoder:
    """Bytes in, `(channel, payload)` out; keeps an incomplete tail."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        self._buffer += data
        frames = []
        while len(self._buffer) >= 5:
            channel, length = struct.unpack_from(">BI", self._buffer)
            if channel > EXIT or length > MAX_FRAME_BYTES:
                raise FrameError(f"not a frame: channel {channel}, {length} bytes")
            if len(self._buffer) < 5 + length:
                break
            frames.append((channel, bytes(self._buffer[5 : 5 + length])))
            del self._buffer[: 5 + length]
        return frames


def call(sock: socket.socket, message: Any) -> Any:
    """Send one JSON message and wait for one answer. No byte beyond it is read, so that events right behind it stay in
    the socket. Raises ConnectionError when the peer hangs up."""
    sock.sendall(encode_json(message))
    decoder = JsonDecoder()
    length = _receive(sock, 4)
    decoder.feed(length)  # refuses one beyond the limit before its message is waited for
    (answer,) = decoder.feed(_receive(sock, int.from_bytes(length, "big")))
    return answer


def _receive(sock: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        data = sock.recv(min(size - len(received), 65536))
        if not data:
            raise ConnectionError("the peer closed the connection before it answered")
        received += data
    return bytes(received)

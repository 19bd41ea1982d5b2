"""Netlink: encodes attributes, sends a batch in one system call, reads acknowledgements and dumps.

Sources: netlink(7), rtnetlink(7), linux/netlink.h. All integers are in the machine's byte order.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

ROUTE, NETFILTER = 0, 12
NLMSG_ERROR, NLMSG_DONE = 2, 3
F_REQUEST, F_ACK, F_DUMP = 0x1, 0x4, 0x300
F_REPLACE, F_EXCL, F_CREATE, F_APPEND = 0x100, 0x200, 0x400, 0x800
NESTED = 0x8000

_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_HEADER = struct.Struct("=IHHII")
_RECEIVE_BYTES = 256 * 1024
_ANSWER_TIMEOUT_S = 10.0
_DUMP_ATTEMPTS = 5


class NetlinkError(OSError):
    """The kernel refused a message: its errno and the message's name."""


@dataclass(frozen=True)
class Message:
    """One request. An errno in `ignore` counts as success; `name` is for the error text.

    `ack` is False for netfilter's batch marks, which older kernels never acknowledge.
    """

    type: int
    payload: bytes
    flags: int = 0
    ignore: frozenset[int] = frozenset()
    name: str = ""
    ack: bool = True


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute: length, type, value, padded to four bytes."""
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)


def nested(kind: int, *parts: bytes) -> bytes:
    return attribute(kind | NESTED, b"".join(parts))


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode("ascii") + b"\0")


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def be32(kind: int, value: int) -> bytes:
    """A number in big-endian order, which netfilter expects."""
    return attribute(kind, struct.pack(">I", value))


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes of a payload by type, without the type's flags; of equal types the last one counts."""
    found: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[at + 4 : at + length]
        at += (length + 3) & ~3
    return found


class Netlink:
    """A netlink socket in the network namespace of the thread that makes it. A context manager."""

    def __init__(self, protocol: int = ROUTE, *, group: int = 0) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self.socket.settimeout(_ANSWER_TIMEOUT_S)
        self.socket.bind((0, 0))
        self._sequence = 0
        if group:
            self.socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def fileno(self) -> int:
        return self.socket.fileno()

    def close(self) -> None:
        self.socket.close()

    def send(self, *messages: Message) -> None:
        """Send all in one datagram and wait for every acknowledgement. Raises NetlinkError for the first refusal.

        Messages after a refused one are still executed: rtnetlink has no transactions.
        """
        sent: dict[int, Message] = {}
        data = bytearray()
        for message in messages:
            self._sequence += 1
            sent[self._sequence] = message
            data += self._encode(message, F_REQUEST | F_ACK if message.ack else F_REQUEST)
        self.socket.send(data)
        waiting = {sequence for sequence, message in sent.items() if message.ack}
        failed: NetlinkError | None = None
        while waiting:
            for kind, sequence, payload in self._receive():
                if kind != NLMSG_ERROR or sequence not in sent:
                    continue
                message = sent[sequence]
                waiting.discard(sequence)
                code = -struct.unpack_from("=i", payload)[0]
                if code and code not in message.ignore and failed is None:
                    failed = NetlinkError(code, f"{message.name or message.type}: {os.strerror(code)}")
                    if not message.ack:
                        raise failed
        if failed is not None:
            raise failed

    def dump(self, message: Message) -> list[bytes]:
        """The payloads of all answers to a dump request; sent again if the table changed meanwhile."""
        for _ in range(_DUMP_ATTEMPTS):
            self._sequence += 1
            self.socket.send(self._encode(message, F_REQUEST | F_DUMP))
            answers, interrupted = self._read_dump(message)
            if not interrupted:
                break
        return answers

    def _read_dump(self, message: Message) -> tuple[list[bytes], bool]:
        answers: list[bytes] = []
        interrupted = False
        while True:
            for kind, sequence, payload in self._receive():
                if sequence != self._sequence:
                    continue
                if kind == NLMSG_DONE:
                    return answers, interrupted
                if kind == NLMSG_ERROR:
                    code = -struct.unpack_from("=i", payload)[0]
                    if code == errno.EINTR:
                        return answers, True
                    raise NetlinkError(code, f"{message.name or message.type}: {os.strerror(code)}")
                answers.append(payload)

    def _encode(self, message: Message, flags: int) -> bytes:
        length = _HEADER.size + len(message.payload)
        header = _HEADER.pack(length, message.type, message.flags | flags, self._sequence, 0)
        return header + message.payload + bytes(-length % 4)

    def _receive(self) -> Iterator[tuple[int, int, bytes]]:
        data = self.socket.recv(_RECEIVE_BYTES)
        at = 0
        while at + _HEADER.size <= len(data):
            length, kind, _flags, sequence, _port = _HEADER.unpack_from(data, at)
            if length < _HEADER.size:
                break
            yield kind, sequence, data[at + _HEADER.size : at + length]
            at += (length + 3) & ~3

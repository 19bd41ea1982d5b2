"""What the confined process that speaks SSH and its monitor say to each other, over a SOCK_SEQPACKET pair.

A message is a verb, a number and perhaps a body. The speaker asks: `sign N HASH`, `offer N KEY`, `prove N PROVING`,
`start N ASKED`; says `hangup N` of a command. What it would log (runtime/kernel/forked.py) is a message, too. The monitor
answers `answer N BODY`, to `start` with the command's streams, and tells of the command's end: `exit N STATUS`.
"""

from __future__ import annotations

import array
import json
import socket
from dataclasses import dataclass

from paas.keys.publickey import strings

MAX_MESSAGE_BYTES = 192 * 1024
MAX_COMMAND_BYTES = MAX_MESSAGE_BYTES - 1024
MAX_CELLS = 4096
CRASHED = b"event=crashed "
"""How a message for the log begins."""

YES, NO = b"1", b"0"
_STREAMS = 3


def pack(verb: bytes, number: int, body: bytes = b"") -> bytes:
    return b"%s %d %s" % (verb, number, body)


def unpack(data: bytes) -> tuple[bytes, int, bytes]:
    """Verb, number, body. Raises ValueError."""
    verb, number, body = data.split(b" ", 2)
    return verb, int(number), body


def receive(control: socket.socket) -> tuple[bytes, list[int]]:
    """The next message and its descriptors; nothing at the end."""
    found = array.array("i")
    room = socket.CMSG_LEN(_STREAMS * found.itemsize)
    data, ancillary, _, _ = control.recvmsg(MAX_MESSAGE_BYTES, room, socket.MSG_CMSG_CLOEXEC)
    for level, kind, body in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(body[: len(body) - len(body) % found.itemsize])
    return data, list(found)


@dataclass(frozen=True)
class Asked:
    """What a client asked of a channel. `command` None: a shell; `term` None: without a terminal."""

    command: bytes | None
    term: str | None = None
    columns: int = 80
    rows: int = 24

    def encode(self) -> bytes:
        """Bytes for `decode`: a line of JSON, then the command as it came, cut when it is far too long."""
        head = json.dumps([self.term, self.columns, self.rows, self.command is not None]).encode()
        return head + b"\n" + (self.command or b"")[:MAX_COMMAND_BYTES]

    @classmethod
    def decode(cls, data: bytes) -> Asked:
        """Raises ValueError."""
        head, _, command = data.partition(b"\n")
        term, columns, rows, has_command = json.loads(head)
        cells = (columns, rows)
        if not all(isinstance(each, int) and 1 <= each <= MAX_CELLS for each in cells):
            raise ValueError("no size of a terminal")
        if term is not None and not isinstance(term, str):
            raise ValueError("no terminal")
        return cls(command if has_command is True else None, term, columns, rows)


@dataclass(frozen=True)
class Proving:
    """What a client gave to prove its key: the wire forms of key and signature, and the words beside them."""

    login: str
    algorithm: str
    key: bytes
    signature: bytes

    def encode(self) -> bytes:
        parts = (self.login.encode(), self.algorithm.encode(), self.key, self.signature)
        return b"".join(len(part).to_bytes(4, "big") + part for part in parts)

    @classmethod
    def decode(cls, data: bytes) -> Proving:
        """Raises ValueError, IndexError, struct.error."""
        login, algorithm, key, signature = strings(data)
        return cls(login.decode(), algorithm.decode(), key, signature)

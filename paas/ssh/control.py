"""The messages between the confined process that speaks SSH (the speaker) and its monitor, over a SOCK_SEQPACKET pair.

A message is a verb, a number and perhaps a body. The speaker sends `sign N HASH`, `offer N KEY`, `prove N LOGIN` and
`start N REQUEST`; each gets `answer N BODY`, that of `start` with the command's streams. The monitor sends `exit N STATUS`
when a command has ended; the speaker sends `hangup N` to end one. A crash report (runtime/kernel/forked.py) is a message too.
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
"""How a crash report begins."""

YES, NO = b"1", b"0"
_STREAMS = 3


def pack(verb: bytes, number: int, body: bytes = b"") -> bytes:
    return b"%s %d %s" % (verb, number, body)


def unpack(data: bytes) -> tuple[bytes, int, bytes]:
    """Verb, number, body. Raises ValueError."""
    verb, number, body = data.split(b" ", 2)
    return verb, int(number), body


def receive(control: socket.socket) -> tuple[bytes, list[int]]:
    """The next message and its descriptors; empty bytes at the end."""
    found = array.array("i")
    room = socket.CMSG_LEN(_STREAMS * found.itemsize)
    data, ancillary, _, _ = control.recvmsg(MAX_MESSAGE_BYTES, room, socket.MSG_CMSG_CLOEXEC)
    for level, kind, body in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(body[: len(body) - len(body) % found.itemsize])
    return data, list(found)


@dataclass(frozen=True)
class CommandRequest:
    """A command to start for a client. `command` None: a shell; `term` None: without a terminal."""

    command: bytes | None
    term: str | None = None
    columns: int = 80
    rows: int = 24

    def encode(self) -> bytes:
        """Bytes for `decode`: a line of JSON, then the command as it came, cut when it is far too long."""
        head = json.dumps([self.term, self.columns, self.rows, self.command is not None]).encode()
        return head + b"\n" + (self.command or b"")[:MAX_COMMAND_BYTES]

    @classmethod
    def decode(cls, data: bytes) -> CommandRequest:
        """Raises ValueError."""
        head, _, command = data.partition(b"\n")
        term, columns, rows, has_command = json.loads(head)
        cells = (columns, rows)
        if not all(isinstance(each, int) and 1 <= each <= MAX_CELLS for each in cells):
            raise ValueError("not the size of a terminal")
        if term is not None and not isinstance(term, str):
            raise ValueError("not the name of a terminal")
        return cls(command if has_command is True else None, term, columns, rows)


@dataclass(frozen=True)
class SignedLogin:
    """A client's attempt to log in: user name, algorithm, and the wire forms of its key and signature."""

    login: str
    algorithm: str
    key: bytes
    signature: bytes

    def encode(self) -> bytes:
        parts = (self.login.encode(), self.algorithm.encode(), self.key, self.signature)
        return b"".join(len(part).to_bytes(4, "big") + part for part in parts)

    @classmethod
    def decode(cls, data: bytes) -> SignedLogin:
        """Raises ValueError, IndexError, struct.error."""
        login, algorithm, key, signature = strings(data)
        return cls(login.decode(), algorithm.decode(), key, signature)

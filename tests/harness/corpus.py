"""The corpus of raw requests in `tests/data/http`: its notation, and a conversation with a backend that answers."""

from __future__ import annotations

import re
from pathlib import Path

from harness.router import Rig

DATA = Path(__file__).resolve().parents[1] / "data" / "http"
VALID = sorted((DATA / "valid").glob("*.http"))
INVALID = sorted((DATA / "invalid").glob("*.http"))
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def unescape(text: bytes) -> bytes:
    r"""The bytes of a corpus file: newlines of the file are nothing, `\r \n \t \0 \xHH \\` mean a byte, lines that
    begin with `## ` are remarks, `{NxC}` is N times the character C."""
    lines = [line for line in text.split(b"\n") if not line.startswith(b"## ")]
    data = re.sub(rb"\{(\d+)x(.)\}", lambda match: match[2] * int(match[1]), b"".join(lines))
    named = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}

    def one(match: re.Match[bytes]) -> bytes:
        code = match[1]
        return bytes([int(code[1:], 16)]) if code[:1] == b"x" else named[code]

    return re.sub(rb"\\(x[0-9A-Fa-f]{2}|[rnt0\\])", one, data)


def after_chunks(data: bytes) -> bytes | None:
    """What follows a chunked body written plainly; None when it does not end."""
    while True:
        size, found, data = data.partition(b"\r\n")
        if not found or len(data) < int(size, 16) + 2:
            return None
        if int(size, 16) == 0:
            _, found, rest = (b"\r\n" + data).partition(b"\r\n\r\n")
            return rest if found else None
        data = data[int(size, 16) + 2 :]


def complete_requests(data: bytes) -> int:
    """How many whole requests a backend that knows only plain HTTP finds in these bytes."""
    count = 0
    while (end := data.find(b"\r\n\r\n")) >= 0:
        head = data[:end].lower()
        data = data[end + 4 :]
        length = re.search(rb"\r\ncontent-length: *(\d+)", head)
        if b"\r\ntransfer-encoding: chunked" in head:
            rest = after_chunks(data)
            if rest is None:
                break
            data = rest
        elif length is not None:
            if len(data) < int(length[1]):
                break
            data = data[int(length[1]) :]
        count += 1
    return count


def converse(rig: Rig, pieces: list[bytes]) -> tuple[list[bytes], bytes]:
    """Send the pieces, answer each request that is complete at a backend; what the backends and the client got."""
    client = rig.client()
    heard: list[bytes] = []
    for piece in pieces:
        client.send(piece)
        answered = True
        while answered:
            answered = False
            for end in rig.dialled:
                if end.read() and complete_requests(end.got):
                    heard.append(end.take())
                    end.send(ANSWER)
                    answered = True
    heard += [end.take() for end in rig.dialled if end.read()]
    return heard, client.read()

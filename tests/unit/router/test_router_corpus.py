"""The corpus of requests, byte by byte: `tests/data/http/{valid,invalid}/NNN.http` with `NNN.expect` beside each.

A valid one is expected to reach backends as the bytes of its `.expect` (a line `-----` between requests), an invalid
one to be answered with the status in its `.expect`, the connection closed, and never to be a whole request anywhere.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from harness.router import Rig, settle, unescape

DATA = Path(__file__).resolve().parents[2] / "data" / "http"
VALID = sorted((DATA / "valid").glob("*.http"))
INVALID = sorted((DATA / "invalid").glob("*.http"))
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


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


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_valid_request_arrives_as_expected(path: Path) -> None:
    rig = Rig()
    try:
        heard, answers = converse(rig, [unescape(path.read_bytes())])
    finally:
        rig.close()
    expected = [unescape(part) for part in path.with_suffix(".expect").read_bytes().split(b"-----\n")]
    assert [settle(request) for request in heard] == expected
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == len(expected)


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_an_invalid_request_is_refused_and_the_connection_closed(path: Path) -> None:
    rig = Rig()
    try:
        client = rig.client()
        client.send(unescape(path.read_bytes()))
        answer = client.read()
        arrived = b"".join(end.read() for end in rig.dialled)
    finally:
        rig.close()
    status = path.with_suffix(".expect").read_bytes().split()[0]
    assert answer.startswith(b"HTTP/1.1 " + status + b" ")
    assert b"\r\nConnection: close\r\n" in answer
    assert len(re.findall(rb"HTTP/1\.1 \d", answer)) == 1
    assert client.closed
    assert complete_requests(arrived) == 0
    assert all(end.closed for end in rig.dialled)


def test_every_case_has_its_expectation() -> None:
    assert len(VALID) > 50 and len(INVALID) > 120
    assert [path for path in VALID + INVALID if not path.with_suffix(".expect").exists()] == []

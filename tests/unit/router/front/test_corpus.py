"""The corpus of requests, byte by byte: `tests/data/http/{valid,invalid}/NNN.http` with `NNN.expect` beside each.

A valid one is expected to reach backends as the bytes of its `.expect` (a line `-----` between requests), an invalid
one to be answered with the status in its `.expect`, the connection closed, and never to be a whole request anywhere.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from harness.corpus import INVALID, VALID, complete_requests, converse, unescape
from harness.router import Rig, settle


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

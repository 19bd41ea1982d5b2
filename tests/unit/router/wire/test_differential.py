"""What the router passes on is one request to another parser too: gunicorn's, which apps run behind it.

It may refuse what we pass, but never find two requests in one."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import ParseException
from gunicorn.http.parser import RequestParser
from harness.corpus import VALID, complete_requests, converse, unescape
from harness.fuzz import mutate
from harness.router import Rig


def parsed(data: bytes) -> list[tuple[str, str, bytes]]:
    """Method, target and body of the requests that gunicorn finds. Raises ParseException when it refuses them."""
    config = Config()
    config.set("limit_request_line", 0)
    config.set("limit_request_field_size", 16_380)
    config.set("limit_request_fields", 300)
    config.set("permit_unconventional_http_method", True)
    found = []
    requests: Any = RequestParser(config, iter([data]), ("192.0.2.1", 1))
    for request in requests:
        found.append((request.method, request.uri, request.body.read()))
    return found


def heard_by_backends(data: bytes) -> list[bytes]:
    """The whole requests that backends got, one by one."""
    rig = Rig()
    try:
        heard, _ = converse(rig, [data])
    finally:
        rig.close()
    return [request for request in heard if complete_requests(request)]


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_gunicorn_finds_one_request_where_we_passed_one(path: Path) -> None:
    heard = heard_by_backends(unescape(path.read_bytes()))
    assert heard
    for request in heard:
        [(method, uri, _)] = parsed(request)
        assert request.startswith(f"{method} {uri} HTTP/1.1\r\n".encode("latin-1"))


def test_gunicorn_finds_one_request_in_mutations_too() -> None:
    seeds = [data for path in VALID if len(data := unescape(path.read_bytes())) < 3000]
    rng, passed = random.Random(7), 0
    for _ in range(400):
        for request in heard_by_backends(b"".join(mutate(rng, seeds, 2))):
            with contextlib.suppress(ParseException):
                assert len(parsed(request)) == 1, request
                passed += 1
    assert passed > 100

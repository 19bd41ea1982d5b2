"""Fields of HTTP/2 to heads of HTTP/1.1, and lines of answers to fields."""

from __future__ import annotations

import pytest
from harness.http2 import BASIC

from router.wire.h2fields import Malformed, request_field, request_head, request_trailers, response_fields


def head(*fields: tuple[bytes, bytes], ended: bool = True) -> bytes:
    return request_head([request_field(name, value) for name, value in fields], ended)


def test_a_head_says_what_the_fields_say() -> None:
    more = [
        (b"cookie", b"a=1"),
        (b"te", b"trailers"),
        (b"x-a", b"b"),
        (b"cookie", b"b=2"),
        (b"host", b"App.test"),
    ]
    assert head(*BASIC, *more) == b"GET / HTTP/1.1\r\nhost: app.test\r\nx-a: b\r\ncookie: a=1; b=2\r\n\r\n"


def test_a_body_without_a_length_is_announced() -> None:
    assert b"\r\ntransfer-encoding: chunked\r\n\r\n" in head(*BASIC, ended=False)
    assert b"chunked" not in head(*BASIC, (b"content-length", b"3"), ended=False)
    assert head(*BASIC, (b"content-length", b"0")).endswith(b"content-length: 0\r\n\r\n")
    with pytest.raises(Malformed):
        head(*BASIC, (b"content-length", b"3"))


def test_trailers_are_lines_and_never_pseudo_headers() -> None:
    assert request_trailers([request_field(b"x-sum", b"1"), request_field(b"cookie", b"a")]) == (
        b"x-sum: 1\r\ncookie: a\r\n"
    )
    for field in [(b":path", b"/"), (b"X", b"y"), (b"x", b"y\n"), (b"connection", b"close")]:
        with pytest.raises(Malformed):
            request_trailers([request_field(*field)])


def test_answers_lose_the_lines_of_a_connection() -> None:
    lines = b"X-A:  b \r\nConnection: close\r\nTransfer-Encoding: chunked\r\nno line\r\nSet-Cookie: a\r\n"
    fields = response_fields(lines)
    assert [(field.name, field.value, field.secret) for field in fields] == [
        (b"x-a", b"b", False),
        (b"set-cookie", b"a", True),
    ]

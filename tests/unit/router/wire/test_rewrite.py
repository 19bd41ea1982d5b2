"""Heads of answers as they are passed on: lines cut and named ones gone, the others byte for byte, ours at the end."""

from __future__ import annotations

import pytest

from router.wire import rewrite
from router.wire.response import ResponseMeaning


def meaning(*cuts: bytes, nominated: tuple[bytes, ...] = (), extra: bytes = b"") -> ResponseMeaning:
    made = ResponseMeaning()
    made.cuts, made.nominated, made.extra = cuts, frozenset(nominated), extra
    return made


BLOCK = b"\r\nX-A:  b \r\nKeep-Alive: 5\r\nX-B: \xff\r\nx-a: again\r\n"


@pytest.mark.parametrize(
    ("said", "lines"),
    [
        (meaning(), b"X-A:  b \r\nKeep-Alive: 5\r\nX-B: \xff\r\nx-a: again\r\n"),
        (meaning(b"\r\nKeep-Alive: 5\r\n"), b"X-A:  b \r\nX-B: \xff\r\nx-a: again\r\n"),
        (meaning(nominated=(b"x-a",)), b"Keep-Alive: 5\r\nX-B: \xff\r\n"),
        (meaning(nominated=(b"x",)), b"X-A:  b \r\nKeep-Alive: 5\r\nX-B: \xff\r\nx-a: again\r\n"),
        (meaning(b"\r\nX-B: \xff\r\n", b"\r\nKeep-Alive: 5\r\n", nominated=(b"x-a",)), b""),
        (meaning(nominated=(b"x-a", b"x-b"), extra=b"C: d\r\n"), b"Keep-Alive: 5\r\nC: d\r\n"),
    ],
    ids=["all", "cut", "named", "no prefix", "none left", "extra"],
)
def test_other_lines_stay_as_they_are(said: ResponseMeaning, lines: bytes) -> None:
    assert rewrite.response_lines(BLOCK, said) == lines


def test_of_two_equal_lines_each_cut_takes_one() -> None:
    block = b"\r\nVary: a\r\nVary: a\r\nVary: a\r\n"
    assert rewrite.response_lines(block, meaning(b"\r\nVary: a\r\n", b"\r\nVary: a\r\n")) == b"Vary: a\r\n"


@pytest.mark.parametrize(
    ("lines", "left"),
    [
        (b"", b""),
        (b"Content-Length: 5\r\n", b""),
        (b"A: b\r\ncontent-LENGTH:5\r\nC: Content-Length: 6\r\n", b"A: b\r\nC: Content-Length: 6\r\n"),
        (b"X-Content-Length: 5\r\n", b"X-Content-Length: 5\r\n"),
    ],
)
def test_a_length_that_announces_no_body_goes(lines: bytes, left: bytes) -> None:
    assert rewrite.without_length(lines) == left


@pytest.mark.parametrize(
    ("keep", "minor", "said"),
    [
        (True, 1, b""),  # HTTP/1.1 keeps a connection without a word
        (True, 0, b"Connection: keep-alive\r\n"),
        (False, 1, b"Connection: close\r\n"),
        (False, 0, b"Connection: close\r\n"),
    ],
)
@pytest.mark.parametrize("chunked", [True, False])
def test_a_head_ends_with_what_becomes_of_the_connection(
    keep: bool, minor: int, said: bytes, chunked: bool
) -> None:
    coding = b"Transfer-Encoding: chunked\r\n" if chunked else b""
    end = rewrite.response_end(keep=keep, minor=minor, chunked=chunked)
    assert end == coding + rewrite.VIA + said + b"\r\n"

"""Rewrites heads to be passed on: the original bytes, without the lines cut, with our own added. Pure.

The application learns who asked (X-Forwarded-For is appended to, -Proto and -Port are set), when (X-Request-Start in
unix milliseconds), and under which id (X-Request-Id; a valid one from the client is kept). RFC 9110 7.6.3 requires Via.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from router.wire.heads import CRLF, strip_named
from router.wire.request import RequestMeaning
from router.wire.response import ResponseMeaning

VIA: Final = b"Via: 1.1 paas-router\r\n"
VIA_LINE: Final = CRLF + VIA
END: Final = VIA + CRLF
END_CLOSE: Final = VIA + b"Connection: close\r\n\r\n"
CLOSE_END: Final = b"Connection: close\r\n\r\n"
END_KEEP_ALIVE: Final = VIA + b"Connection: keep-alive\r\n\r\n"
TUNNEL_END: Final = VIA + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
CHUNKED_LINE: Final = b"Transfer-Encoding: chunked\r\n"


@lru_cache(maxsize=64)
def forward_lines(scheme: bytes, port: int) -> bytes:
    """What stands between the client's address and the time. All connections to a port share one object."""
    return b"\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Port: %d\r\n%bX-Request-Start: " % (scheme, port, VIA)


def request_head(
    head: bytes, meaning: RequestMeaning, address: bytes, lines: bytes, wall_ms: bytes, request_id: bytes
) -> bytes:
    """The whole head for the backend. `head` is request line and lines, each with its CRLF; `lines` come from
    `forward_lines`."""
    for cut in meaning.cuts:
        head = head.replace(cut, CRLF, 1)
    if meaning.nominated:
        head = strip_named(head, meaning.nominated)
    return b"".join(
        (head, meaning.extra, b"X-Forwarded-For: ", meaning.forwarded_for, address, lines, wall_ms,
         b"\r\nX-Request-Id: ", request_id, b"\r\n\r\n")
    )  # fmt: skip


def response_lines(block: bytes, meaning: ResponseMeaning) -> bytes:
    """The header lines to pass on. `block` begins with the CRLF of the status line. The visitor adds framing and the
    blank line."""
    for cut in meaning.cuts:
        block = block.replace(cut, CRLF, 1)
    if meaning.nominated:
        block = strip_named(block, meaning.nominated)
    return block[2:] + meaning.extra


def without_length(lines: bytes) -> bytes:
    """The header lines of an answer that has no body to announce."""
    return strip_named(CRLF + lines, frozenset([b"content-length"]))[2:]


def response_end(*, keep: bool, minor: int, chunked: bool) -> bytes:
    """Our lines and the blank line that end a response head, for a client of HTTP/1.`minor`."""
    end = (END if minor else END_KEEP_ALIVE) if keep else END_CLOSE
    return CHUNKED_LINE + end if chunked else end

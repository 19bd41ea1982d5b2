"""What a head looks like when it is passed on: original bytes, minus the lines cut, plus our own. Pure.

Tells the application who asked (X-Forwarded-For appended, -Proto and -Port set), when (X-Request-Start, unix
milliseconds), and under which id (X-Request-Id, a valid one from the client is kept); RFC 9110 7.6.3 asks for Via.
"""

from __future__ import annotations

from typing import Final

from router.wire.heads import CRLF, strip_named
from router.wire.request import RequestMeaning, replace_host
from router.wire.response import ResponseMeaning, StatusLine

VIA: Final = b"Via: 1.1 paas-router\r\n"
VIA_LINE: Final = CRLF + VIA
END: Final = VIA + CRLF
END_CLOSE: Final = VIA + b"Connection: close\r\n\r\n"
END_KEEP_ALIVE: Final = VIA + b"Connection: keep-alive\r\n\r\n"
TUNNEL_END: Final = VIA + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
CHUNKED_LINE: Final = b"Transfer-Encoding: chunked\r\n"


def client_lines(address: bytes, port: int, scheme: bytes = b"http") -> bytes:
    """The lines that are the same for every request of a connection; X-Forwarded-For must come first."""
    return (
        b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Port: %d\r\n"
        b"Via: 1.1 paas-router\r\nX-Request-Start: " % (address, scheme, port)
    )


def request_head(
    head: bytes,
    meaning: RequestMeaning,
    client: bytes,
    wall_ms: bytes,
    request_id: bytes,
    authority: bytes | None = None,
) -> bytes:
    """The whole head for the backend. `head` is request line and lines, each with its CRLF; `client` what
    `client_lines` gave; `authority` replaces Host."""
    for cut in meaning.cuts:
        head = head.replace(cut, CRLF, 1)
    if meaning.nominated:
        head = strip_named(head, meaning.nominated)
    if authority is not None:
        head = replace_host(head, authority)
    if meaning.forwarded_for:
        client = b"X-Forwarded-For: " + meaning.forwarded_for + client[17:]
    return b"".join((head, meaning.extra, client, wall_ms, b"\r\nX-Request-Id: ", request_id, b"\r\n\r\n"))


def response_head(head: bytes, line_bytes: int, status: StatusLine, meaning: ResponseMeaning) -> bytes:
    """Status line and lines for the client, each with its CRLF; the caller adds framing and the blank line."""
    if not status.same:
        head = status.text + head[line_bytes + 2 :]
    for cut in meaning.cuts:
        head = head.replace(cut, CRLF, 1)
    if meaning.nominated:
        head = strip_named(head, meaning.nominated)
    return head + meaning.extra


def response_end(*, keep: bool, minor: int, chunked: bool) -> bytes:
    """Our lines and the blank line that end a response head, for a client of HTTP/1.`minor`."""
    end = (END if minor else END_KEEP_ALIVE) if keep else END_CLOSE
    return CHUNKED_LINE + end if chunked else end


def interim(head: bytes) -> bytes:
    """A whole 1xx response for the client, from what `response_head` gave: no framing, whatever its lines say."""
    return strip_named(head, frozenset([b"content-length"])) + END

"""From the head of a request to its exchange: the same for HTTP/1 and for the streams of HTTP/2."""

from __future__ import annotations

from copy import copy
from typing import Final

from router.middle.exchange import Exchange
from router.middle.inflight import HTTP10
from router.middle.sides import Visitor
from router.report.entry import quote
from router.wire.heads import CRLF, BadHead, HeadMemory
from router.wire.request import (
    EXPECT_LINE,
    UPGRADE_LINES,
    RequestMeaning,
    fast_path_line,
    parse_host,
    parse_request_line,
    replace_host,
    split_target,
)

_SLASH: Final = 47
_NOTHING = RequestMeaning()


def begin(
    visitor: Visitor, heads: HeadMemory[RequestMeaning], data: bytes, end: int, version: int
) -> tuple[Exchange, bytes]:
    """The exchange of the request whose head is `data[:end]`, the request line and header lines up to the last CRLF.
    A request line may say HTTP/1.0 instead of `version`. Returns with it what `Exchange.open` needs: the head in the
    form of HTTP/1.1. Raises BadHead."""
    line = fast_path_line(data)
    if line is not None:
        method, target = line.groups()
        start = line.end()
    else:
        start = data.find(CRLF) + 2
        method, target, minor = parse_request_line(data, start - 2)
        version = version if minor else HTTP10
    meaning = heads.read(data, start, end)
    head = data[:end]
    if meaning.host is None and version != HTTP10:
        raise BadHead("no Host")
    if target[0] != _SLASH or version == HTTP10:
        target, head, meaning = _unusual(method, target, version, head, meaning)
    shared = visitor.shared
    route = shared.table.lookup(meaning.host or b"", target)
    request_id = meaning.request_id or shared.new_id()
    exchange = Exchange(visitor, method, target, version, meaning, request_id, route)
    if line is None:
        exchange.shown = quote(target)
    return exchange, head


def _unusual(
    method: bytes, target: bytes, version: int, head: bytes, meaning: RequestMeaning
) -> tuple[bytes, bytes, RequestMeaning]:
    """Absolute and asterisk forms, and HTTP/1.0: rewrite the request line, let an absolute target name the host."""
    authority: bytes | None = None
    if target[0] != _SLASH:
        authority, target = split_target(method, target)
        if authority is not None:
            host = parse_host(authority)
            if host != meaning.host:
                meaning = copy(meaning)
                meaning.host = host
    if version == HTTP10:
        if meaning.chunked:
            raise BadHead("Transfer-Encoding in HTTP/1.0")
        if meaning.expect or meaning.upgrade:  # ignored, RFC 9110 7.8 and 10.1.1
            meaning = copy(meaning)
            meaning.upgrade = False
            meaning.extra = meaning.extra.replace(EXPECT_LINE, b"").replace(UPGRADE_LINES, b"")
        if meaning.host is None:
            authority = b""
    head = b"%b %b HTTP/1.1\r\n%b" % (method, target, head[head.find(CRLF) + 2 :])
    if authority is not None:
        head = replace_host(head, authority)
    return target, head, meaning


def refused(visitor: Visitor, version: int) -> Exchange:
    """The exchange of a request whose head was refused: for the answer and the log only."""
    return Exchange(visitor, b"-", b"-", version, _NOTHING, b"", None)

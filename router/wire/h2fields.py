"""Header fields of HTTP/2, and the heads of HTTP/1.1 that say the same (RFC 9113 section 8). Pure.

What section 8 forbids is `Malformed`; what a head may not say in any version is left to the reader of the head. A field
is judged once, when it is made; HPACK tables and line caches keep the result.
"""

from __future__ import annotations

import re
from typing import Final

from router.wire.cache import Cache
from router.wire.heads import CRLF

FIELD_OVERHEAD: Final = 32
"""Added to the bytes of a field when the size of a header list is counted (RFC 7541 4.1)."""
KNOWN_LINES: Final = 1024
KNOWN_LINE_BYTES: Final = 1024
CONNECTION_FIELDS: Final = frozenset(
    b"connection keep-alive proxy-connection transfer-encoding upgrade".split()
)
"""Fields of a connection of HTTP/1.1: no message of HTTP/2 has them."""

PLAIN, COOKIE, HOST, LENGTH, TRAILERS, METHOD, SCHEME, AUTHORITY, PATH, MALFORMED, HOP = range(11)
_PSEUDO: Final = {b":method": METHOD, b":scheme": SCHEME, b":authority": AUTHORITY, b":path": PATH}
_MEANT: Final = {b"cookie": COOKIE, b"host": HOST, b"content-length": LENGTH}
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
_VALUE = re.compile(rb"(?![\t ])[\t\x20-\x7e\x80-\xff]*(?<![\t ])").fullmatch
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_PATH = re.compile(rb"/[\x21-\x7e\x80-\xff]*|\*").fullmatch


class Malformed(Exception):
    """A malformed request: its stream is reset (RFC 9113 8.1.1)."""


class RequestField:
    """A field of a request. `kind` is what has to be done with it, `line` the line of HTTP/1.1 that says the same,
    `size` what it takes of a table."""

    __slots__ = ("kind", "line", "name", "size", "value")

    def __init__(self, kind: int, name: bytes, value: bytes) -> None:
        self.kind = kind
        self.name = name
        self.value = value
        self.line = b"%b: %b\r\n" % (name, value) if kind in (PLAIN, LENGTH) else b""
        self.size = len(name) + len(value) + FIELD_OVERHEAD


def request_field(name: bytes, value: bytes) -> RequestField:
    """A field, judged."""
    kind = _PSEUDO.get(name, -1)
    if kind < 0:
        if _NAME(name) is None or name in CONNECTION_FIELDS:
            kind = MALFORMED
        elif name == b"te":
            kind = TRAILERS if value.lower() == b"trailers" else MALFORMED
        else:
            kind = _MEANT.get(name, PLAIN)
    return RequestField(kind if _VALUE(value) is not None else MALFORMED, name, value)


def request_head(fields: list[RequestField], ended: bool) -> bytes:
    """The head of an HTTP/1.1 request with these fields, blank line and all; `ended` says that no body follows, a
    body without a length is announced as chunked. Raises Malformed."""
    pseudo: dict[int, bytes] = {}
    lines: list[bytes] = []
    crumbs: list[bytes] = []
    host: bytes | None = None
    length: bytes | None = None
    regular = False
    for field in fields:
        kind = field.kind
        if kind == PLAIN:
            regular = True
            lines.append(field.line)
        elif METHOD <= kind <= PATH:
            if regular or kind in pseudo:
                raise Malformed("a pseudo-header field that is doubled or out of place")
            pseudo[kind] = field.value
        elif kind == MALFORMED:
            raise Malformed("a field that is not well formed, or concerns a connection of HTTP/1.1")
        else:
            regular = True
            if kind == COOKIE:
                crumbs.append(field.value)
            elif kind == LENGTH:
                length = field.value
                lines.append(field.line)
            elif kind == HOST and host is None:
                host = field.value
            elif kind == HOST:
                lines.append(b"host: %b\r\n" % field.value)
    if crumbs:
        lines.append(b"cookie: %b\r\n" % b"; ".join(crumbs))
    if ended:
        if length is not None and length.strip(b"0"):
            raise Malformed("a length, and no body")
    elif length is None:
        lines.append(b"transfer-encoding: chunked\r\n")
    lines.append(CRLF)
    return _first_lines(pseudo, host) + b"".join(lines)


def _first_lines(pseudo: dict[int, bytes], host: bytes | None) -> bytes:
    authority = pseudo.get(AUTHORITY)
    request = _request_line(pseudo.get(METHOD, b""), pseudo.get(PATH), pseudo.get(SCHEME), authority)
    return request + _host_line(authority, host)


def _request_line(method: bytes, path: bytes | None, scheme: bytes | None, authority: bytes | None) -> bytes:
    if method == b"CONNECT":  # the reader of the head refuses it by name
        if path is not None or scheme is not None:
            raise Malformed("CONNECT with a path")
        return b"CONNECT %b HTTP/1.1\r\n" % (authority or b"")
    if _METHOD(method) is None or path is None or _PATH(path) is None:
        raise Malformed("no method or no path")
    if path == b"*" and method != b"OPTIONS":
        raise Malformed("an asterisk is no path")
    if scheme is None or scheme.lower() not in (b"https", b"http"):
        raise Malformed("not a scheme that is served here")
    return b"%b %b HTTP/1.1\r\n" % (method, path)


def _host_line(authority: bytes | None, host: bytes | None) -> bytes:
    if authority is None:
        authority = host
    elif host is not None and host.lower() != authority.lower():
        raise Malformed("host and :authority differ")
    return b"" if authority is None else b"host: %b\r\n" % authority


def request_trailers(fields: list[RequestField]) -> bytes:
    """Trailer lines of HTTP/1.1. Raises Malformed."""
    lines = []
    for field in fields:
        if field.kind >= METHOD:
            raise Malformed("a field that is not well formed, or not one of trailers")
        lines.append(b"%b: %b\r\n" % (field.name, field.value))
    return b"".join(lines)


class AnswerField:
    """A field of an answer: what the line of HTTP/1.1 `line` says. `indexing` and `literal` are its encodings in a
    header block once they have been needed, `secret` keeps it out of tables, `sent` says that it has been sent."""

    __slots__ = ("indexing", "kind", "line", "literal", "name", "secret", "sent", "size", "value")

    def __init__(self, kind: int, line: bytes, name: bytes, value: bytes) -> None:
        self.kind = kind
        self.line = line
        self.name = name
        self.value = value
        self.size = len(name) + len(value) + FIELD_OVERHEAD
        self.secret = name == b"set-cookie"
        self.sent = False
        self.indexing = b""
        self.literal = b""


def _answer_field(line: bytes) -> AnswerField:
    name, colon, value = line.partition(b":")
    name = name.lower()
    if not colon or name in CONNECTION_FIELDS:
        return AnswerField(HOP, line, name, value)
    return AnswerField(PLAIN, line, name, value.strip(b" \t"))


_known = Cache(_answer_field, KNOWN_LINES)
"""Lines that have been sent, by all connections of the process."""


def response_fields(lines: bytes) -> list[AnswerField]:
    """The fields of header lines, or of trailer lines, that may be passed on; each line ends in CRLF."""
    return [
        field
        for line in lines.split(CRLF)
        if (field := _known[line] if len(line) <= KNOWN_LINE_BYTES else _answer_field(line)).kind != HOP
    ]

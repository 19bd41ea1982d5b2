"""Header fields of HTTP/2, and the heads of HTTP/1.1 that say the same (RFC 9113 section 8). Pure.

What section 8 forbids is `Malformed`; what a head may not say in any version is left to who reads the head.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from router.wire.heads import CRLF

Field = tuple[bytes, bytes]

CONNECTION_FIELDS: Final = frozenset(
    b"connection keep-alive proxy-connection transfer-encoding upgrade".split()
)
"""Fields of a connection of HTTP/1.1: no message of HTTP/2 has them."""

_PSEUDO: Final = frozenset([b":method", b":scheme", b":authority", b":path"])
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
_VALUE = re.compile(rb"(?![\t ])[\t\x20-\x7e\x80-\xff]*(?<![\t ])").fullmatch
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_PATH = re.compile(rb"/[\x21-\x7e\x80-\xff]*|\*").fullmatch


class Malformed(Exception):
    """A request that is none: its stream is reset (RFC 9113 8.1.1)."""


def request_head(fields: Iterable[Field], *, ended: bool) -> bytes:
    """The head of an HTTP/1.1 request with these fields, blank line and all; `ended` says that no body follows, a
    body without a length is announced as chunked. Raises Malformed."""
    pseudo: dict[bytes, bytes] = {}
    lines: list[bytes] = []
    crumbs: list[bytes] = []
    host: bytes | None = None
    length: bytes | None = None
    regular = False
    for name, value in fields:
        if name.startswith(b":"):
            if regular or name in pseudo or name not in _PSEUDO or _VALUE(value) is None:
                raise Malformed("a pseudo-header field that is unknown, doubled or out of place")
            pseudo[name] = value
            continue
        regular = True
        _check(name, value)
        if name == b"cookie":
            crumbs.append(value)
        elif name == b"host" and host is None:
            host = value
        elif name != b"te":
            if name == b"content-length":
                length = value
            lines.append(b"%b: %b\r\n" % (name, value))
    if crumbs:
        lines.append(b"cookie: %b\r\n" % b"; ".join(crumbs))
    if ended:
        if length is not None and length.strip(b"0"):
            raise Malformed("a length, and no body")
    elif length is None:
        lines.append(b"transfer-encoding: chunked\r\n")
    return b"%b%b%b\r\n" % (
        _request_line(pseudo),
        _host_line(pseudo.get(b":authority"), host),
        b"".join(lines),
    )


def _check(name: bytes, value: bytes) -> None:
    if _NAME(name) is None or _VALUE(value) is None:
        raise Malformed("a field that is not well formed")
    if name in CONNECTION_FIELDS or (name == b"te" and value.lower() != b"trailers"):
        raise Malformed("a field that concerns a connection of HTTP/1.1")


def _request_line(pseudo: dict[bytes, bytes]) -> bytes:
    method, path = pseudo.get(b":method", b""), pseudo.get(b":path")
    if method == b"CONNECT":  # refused by name, whoever reads the head
        if path is not None or b":scheme" in pseudo:
            raise Malformed("CONNECT with a path")
        return b"CONNECT %b HTTP/1.1\r\n" % pseudo.get(b":authority", b"")
    if _METHOD(method) is None or path is None or _PATH(path) is None:
        raise Malformed("no method or no path")
    if path == b"*" and method != b"OPTIONS":
        raise Malformed("an asterisk is no path")
    if pseudo.get(b":scheme", b"").lower() not in (b"https", b"http"):
        raise Malformed("not a scheme that is served here")
    return b"%b %b HTTP/1.1\r\n" % (method, path)


def _host_line(authority: bytes | None, host: bytes | None) -> bytes:
    if authority is None:
        authority = host
    elif host is not None and host.lower() != authority.lower():
        raise Malformed("host and :authority differ")
    return b"" if authority is None else b"host: %b\r\n" % authority


def request_trailers(fields: Iterable[Field]) -> bytes:
    """Trailer lines of HTTP/1.1. Raises Malformed."""
    lines = []
    for name, value in fields:
        _check(name, value)
        lines.append(b"%b: %b\r\n" % (name, value))
    return b"".join(lines)


def response_fields(status: int, lines: bytes) -> list[Field]:
    """The fields of an answer with these header lines, CRLF ended."""
    return [(b":status", b"%d" % status), *response_trailers(lines)]


def response_trailers(lines: bytes) -> list[Field]:
    """The fields of trailer lines that may be passed on, CRLF ended."""
    return [field for field in _split(lines) if field[0] not in CONNECTION_FIELDS]


def _split(block: bytes) -> list[Field]:
    fields = []
    for line in block.split(CRLF):
        name, colon, value = line.partition(b":")
        if colon:
            fields.append((name.lower(), value.strip(b" \t")))
    return fields

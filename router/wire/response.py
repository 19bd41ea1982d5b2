"""Response heads: the status line, and the header lines that a proxy must understand. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from router.wire.cache import Cache
from router.wire.heads import (
    CRLF,
    MAX_LINE_BYTES,
    BadHead,
    HeadReader,
    Line,
    parse_length,
    parse_tokens,
    split_field,
)

MAX_RESPONSE_HEAD_BYTES: Final = 64 * 1024
UNTIL_CLOSE: Final = -1
CHUNKED: Final = -2

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?")

DROPPED: Final = frozenset((b"keep-alive proxy-connection te upgrade").split())
PROTECTED: Final = frozenset((b"content-length transfer-encoding content-type set-cookie via").split())


class StatusLine:
    """`line` is the line as it came, `text` as it is passed on, both with their CRLF."""

    __slots__ = ("code", "end", "fast_path", "line", "minor", "same", "text")

    def __init__(self, code: int, minor: int, reason: bytes, line: bytes = b"") -> None:
        self.line = line + CRLF
        self.end = len(line)
        self.code = code
        self.minor = minor
        self.same = minor == 1
        """Whether the line is passed on unchanged."""
        self.fast_path = minor == 1 and code >= 200 and code not in (204, 304)
        """Whether the line is passed on unchanged, and the header lines alone determine the length of the body."""
        self.text = b"HTTP/1.1 %d %b\r\n" % (code, reason)


class ResponseMeaning:
    """What the header lines say. `length`: bytes of body, UNTIL_CLOSE or CHUNKED."""

    __slots__ = ("close", "cuts", "extra", "fast_path", "keep_alive", "length", "nominated", "upgrade")

    def __init__(self) -> None:
        self.length = UNTIL_CLOSE
        self.close = False
        self.keep_alive = False
        self.upgrade = b""
        self.nominated: frozenset[bytes] = frozenset()
        self.cuts: tuple[bytes, ...] = ()
        self.extra = b""
        """The line that replaces a Content-Length that was cut."""
        self.fast_path = False
        """The body has a length, only `cuts` are removed, and nothing is added."""


def parse_status_line(line: bytes) -> StatusLine:
    """Raises BadHead for anything but `HTTP/1.x NNN reason`."""
    if len(line) > MAX_LINE_BYTES:
        raise BadHead(f"the status line is longer than {MAX_LINE_BYTES} bytes")
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise BadHead("malformed status line")
    status = StatusLine(int(match[2]), 0 if match[1] == b"0" else 1, match[3] or b"", line)
    if match[3] is None:  # the blank before the reason is not optional, RFC 9112 4
        status.same = status.fast_path = False
    return status


_RELEVANT: Final = DROPPED | frozenset(b"content-length transfer-encoding connection".split())


def parse_line(line: bytes) -> Line | int:
    """0 for an irrelevant line, else its Line. Raises BadHead."""
    name, value = split_field(line, MAX_RESPONSE_HEAD_BYTES)
    if name == b"content-length":
        length = parse_length(value)
        return Line(name, length, line, keep=line[15:] == b" %d" % length)
    if name == b"transfer-encoding":
        if value.lower() != b"chunked":
            raise BadHead("a transfer coding other than chunked")
        return Line(name, None, line)
    if name == b"connection":
        return Line(name, parse_tokens(value), line)
    if name == b"upgrade":
        return Line(name, value.lower(), line)
    if name in DROPPED:
        return Line(b"", None, line)
    return 0


def combine(lines: tuple[Line, ...]) -> ResponseMeaning:
    """The meaning of these lines together. Raises BadHead for ambiguous framing."""
    meaning = ResponseMeaning()
    seen: set[bytes] = set()
    tokens: frozenset[bytes] = frozenset()
    for line in lines:
        name = line.name
        if name in (b"content-length", b"transfer-encoding"):
            if seen & {b"content-length", b"transfer-encoding"}:
                raise BadHead("ambiguous framing of the body")
            meaning.length = line.value if name == b"content-length" else CHUNKED
            if name == b"content-length" and line.cut is not None:
                meaning.extra = b"Content-Length: %d\r\n" % meaning.length
        elif name == b"connection":
            tokens |= line.value
        elif name == b"upgrade":
            meaning.upgrade = line.value
        seen.add(name)
    meaning.close = b"close" in tokens
    meaning.keep_alive = b"keep-alive" in tokens
    meaning.nominated = tokens - {b"close", b"keep-alive", b"upgrade"} - PROTECTED
    meaning.cuts = tuple(line.cut for line in lines if line.cut is not None)
    meaning.fast_path = meaning.length >= 0 and not (meaning.nominated or meaning.extra)
    return meaning


def reader() -> HeadReader[ResponseMeaning]:
    """A reader of response header blocks with its own cache."""
    return HeadReader(parse_line, combine, _RELEVANT)


def status_lines() -> Callable[[bytes], StatusLine]:
    """`parse_status_line` with a cache."""
    return Cache(parse_status_line, 256).__getitem__

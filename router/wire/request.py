"""Request heads: the request line, and the header lines that a proxy must understand. Pure."""

from __future__ import annotations

import re
from typing import Any, Final

from router.wire.heads import (
    CRLF,
    BadHead,
    HeadReader,
    Line,
    parse_length,
    parse_tokens,
    split_field,
    strip_named,
)

MAX_TARGET_BYTES: Final = 8192

_REQUEST_LINE = re.compile(
    rb"(?!CONNECT )([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}) ([\x21\x22\x24-\x7e]+) HTTP/1\.([01])"
).fullmatch
fast_path_line = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-BD-Za-z][!#$%&'*+\-.^_`|~0-9A-Za-z]{0,31}) (/[!$-\[\]-~]{0,8191}) HTTP/1\.1\r\n"
).match
"""Matches an HTTP/1.1 request line in origin form whose target can be logged as it is. Methods that begin with C are left
to `parse_request_line`: one of them is CONNECT."""
_OTHER_VERSION = re.compile(rb"[A-Z]{1,32} [\x21-\x7e\x80-\xff]+ HTTP/(?!1\.[01])[0-9]\.[0-9]")
_CONNECT = re.compile(rb"CONNECT [\x21-\x7e]+ HTTP/1\.[01]")
_CODING = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,255})(?::([0-9]{0,5}))?")
_ABSOLUTE = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?#]*)([^#]*)")
_PORT = re.compile(rb"[0-9]{1,5}")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._+/=-]{20,200}")

PROTECTED: Final = frozenset(
    (
        b"host content-length transfer-encoding content-type authorization cookie via x-request-id "
        b"x-request-start expect origin te"
    ).split()
)
"""Names a Connection header may not strip (besides `x-forwarded-*`)."""

DROPPED: Final = frozenset(
    (
        b"keep-alive proxy-connection proxy-authorization te proxy x-request-start forwarded x-real-ip "
        b"http2-settings"
    ).split()
)
"""Hop-by-hop names (RFC 9110 7.6.1), and names that applications believe because a proxy sets them."""

UPGRADE_LINES: Final = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
EXPECT_LINE: Final = b"Expect: 100-continue\r\n"


_NO_NAMES: Final[frozenset[bytes]] = frozenset()


class RequestMeaning:
    """What the header lines say. `host` is None without a Host line; `length` is -1 for a chunked body."""

    __slots__ = (
        "chunked",
        "close",
        "cuts",
        "expect",
        "extra",
        "forwarded_for",
        "host",
        "keep_alive",
        "length",
        "nominated",
        "port",
        "request_id",
        "route",
        "scheme",
        "table",
        "upgrade",
    )

    def __init__(self) -> None:
        self.host: bytes | None = None
        self.length = 0
        self.chunked = False
        self.close = False
        self.keep_alive = False
        self.upgrade = False
        self.expect = False
        self.forwarded_for = b""
        """The value of X-Forwarded-For, followed by ", "."""
        self.request_id = b""
        self.scheme = b""
        """`http` or `https` if a trusted proxy says so."""
        self.port = 0
        self.nominated = _NO_NAMES
        """Names in Connection whose lines are stripped."""
        self.cuts: tuple[bytes, ...] = ()
        self.extra = b""
        """Lines that replace some of those cut."""
        self.route: Any = None
        """The only route of `host`, by the route table with the number `table`; see `_fast_path`."""
        self.table = 0


def parse_request_line(data: bytes, end: int) -> tuple[bytes, bytes, int]:
    """`(method, target, minor version)` of the line that ends at `end`. Raises BadHead (400, 405, 414, 505)."""
    match = _REQUEST_LINE(data, 0, end)
    if match is None:
        raise _refuse_line(data[:end])
    method, target, minor = match.groups()
    if len(target) > MAX_TARGET_BYTES:
        raise BadHead("the request target is too long", 414)
    return method, target, 1 if minor == b"1" else 0


def _refuse_line(line: bytes) -> BadHead:
    if _OTHER_VERSION.fullmatch(line) is not None:
        return BadHead("only HTTP/1.0 and HTTP/1.1 are spoken here", 505)
    if _CONNECT.fullmatch(line) is not None:
        return BadHead("CONNECT is not offered", 405)
    return BadHead("malformed request line")


def split_target(method: bytes, target: bytes) -> tuple[bytes | None, bytes]:
    """`(authority or None, origin form)` of a target that does not begin with a slash (RFC 9112 3.2)."""
    if target == b"*" and method == b"OPTIONS":
        return None, target
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise BadHead("malformed request target")
    path = match[2]
    if not path:
        path = b"*" if method == b"OPTIONS" else b"/"
    elif path.startswith(b"?"):
        path = b"/" + path
    return match[1], path


def parse_host(value: bytes) -> bytes:
    """The host name in lower case, without port and trailing dot. Raises BadHead."""
    match = _HOST.fullmatch(value)
    if match is None or (match[2] and int(match[2]) > 65535):
        raise BadHead("invalid Host")
    name = match[1].lower()
    return name[:-1] if name.endswith(b".") and len(name) > 1 else name


_RELEVANT: Final = DROPPED | frozenset(
    b"host content-length transfer-encoding connection upgrade expect x-request-id".split()
)


def parse_line(line: bytes) -> Line | int:
    """0 for an irrelevant line, else its Line. Raises BadHead."""
    name, value = split_field(line)
    if name == b"host":
        return Line(name, parse_host(value), line, keep=True)
    if name == b"content-length":
        length = parse_length(value)
        return Line(name, length, line, keep=line[15:] == b" %d" % length)
    if name == b"transfer-encoding":
        if value.lower() != b"chunked":
            raise BadHead("a transfer coding other than chunked", 501 if _is_foreign(value.lower()) else 400)
        return Line(name, None, line)
    if name == b"connection":
        return Line(name, parse_tokens(value), line)
    if name == b"upgrade":
        return Line(name, value.lower(), line)
    if name == b"expect":
        if value.lower() != b"100-continue":
            raise BadHead("an expectation that cannot be met", 417)
        return Line(name, None, line)
    if name == b"x-request-id":
        valid = _REQUEST_ID.fullmatch(value) is not None
        return Line(name, value if valid else b"", line)
    if name == b"x-forwarded-for":
        return Line(name, value, line)
    if name in DROPPED or name.startswith(b"x-forwarded-") or b"_" in name:
        return Line(b"", None, line)
    return 0


def _is_foreign(codings: bytes) -> bool:
    """Whether these codings are well-formed, and one is unsupported. Chunked may only come last (RFC 9112 6.1)."""
    names = [name.strip(b" \t") for name in codings.split(b",")]
    others = names[:-1] if names[-1] == b"chunked" else names
    return all(_CODING.fullmatch(name) is not None and b"chunked" not in name for name in others)


def parse_trusted_line(line: bytes) -> Line | int:
    """As `parse_line`, for a trusted proxy: believe what it says about its own client."""
    name, value = split_field(line)
    if name == b"x-forwarded-proto" and value.lower() in (b"http", b"https"):
        return Line(name, value.lower(), line)
    if name == b"x-forwarded-port" and _PORT.fullmatch(value) is not None:
        return Line(name, int(value), line)
    return 0 if name == b"x-forwarded-host" else parse_line(line)


def combine(lines: tuple[Line, ...]) -> RequestMeaning:
    """The meaning of these lines together. Raises BadHead if framing or host are ambiguous."""
    meaning = RequestMeaning()
    seen: set[bytes] = set()
    upgrade = b""
    for line in lines:
        name, value = line.name, line.value
        if name in (b"host", b"content-length", b"transfer-encoding") and name in seen:
            raise BadHead(f"more than one {name.decode()} line")
        seen.add(name)
        if name == b"host":
            meaning.host = value
        elif name == b"content-length":
            meaning.length = value
            meaning.extra += b"" if line.cut is None else b"Content-Length: %d\r\n" % value
        elif name == b"transfer-encoding":
            meaning.chunked = True
        elif name == b"connection":
            meaning.nominated |= value
        elif name == b"upgrade":
            upgrade = value
        elif name == b"expect":
            meaning.expect = True
        elif name == b"x-request-id":
            meaning.request_id = value
        elif name == b"x-forwarded-proto":
            meaning.scheme = value
        elif name == b"x-forwarded-port":
            meaning.port = value
        elif name == b"x-forwarded-for" and value:
            meaning.forwarded_for += value + b", "
    if meaning.chunked and b"content-length" in seen:
        raise BadHead("both Content-Length and Transfer-Encoding")
    _finish(meaning, lines, upgrade)
    return meaning


def _finish(meaning: RequestMeaning, lines: tuple[Line, ...], upgrade: bytes) -> None:
    tokens = meaning.nominated
    meaning.close = b"close" in tokens
    meaning.keep_alive = b"keep-alive" in tokens
    meaning.upgrade = upgrade == b"websocket" and b"upgrade" in tokens
    spoken_for = {b"close", b"keep-alive", b"upgrade"} | PROTECTED
    nominated = frozenset(t for t in tokens - spoken_for if not t.startswith(b"x-forwarded-"))
    meaning.nominated = nominated or _NO_NAMES  # an empty set of its own would take 216 bytes for each host
    meaning.cuts = tuple(line.cut for line in lines if line.cut is not None)
    if meaning.chunked:
        meaning.length = -1
        meaning.extra += b"Transfer-Encoding: chunked\r\n"
    if meaning.upgrade:
        meaning.extra += UPGRADE_LINES
    if meaning.expect:
        meaning.extra += EXPECT_LINE


def reader(*, trusted: bool = False) -> HeadReader[RequestMeaning]:
    """A reader of request header blocks with its own cache; `trusted` for those from trusted proxies."""
    return HeadReader(parse_trusted_line if trusted else parse_line, combine, _RELEVANT)


def replace_host(head: bytes, authority: bytes) -> bytes:
    """Replace the Host lines of a head: in absolute form the target decides (RFC 9112 3.2.2)."""
    start, _, lines = strip_named(head, frozenset([b"host"])).partition(CRLF)
    return CRLF.join([start, b"Host: " + authority, lines])

"""The two sides of an exchange: the visitor, who sent the request, and the upstream, which answers it.

Base classes and not protocols: a compiled call of a base class's method costs next to nothing. `exchange`, which both
sides have, is declared where they are implemented (`front`, `back`), above the exchange itself.
"""

from __future__ import annotations

from router.io.pipes import Pipe
from router.io.stream import Stream
from router.shared import Shared
from router.wire.body import Body
from router.wire.response import ResponseMeaning, StatusLine


class Visitor(Stream):
    """The client's side: a connection of HTTP/1, or a stream of HTTP/2 (whose descriptor is -1).

    `protocol` is as in the access log, `trusted` says that the client is a proxy that is believed, `forward_lines` tell
    the backend how it asks (`rewrite.forward_lines`), `received` counts the bytes that have come of the request's body,
    `active` is when the client was last heard of. The answer comes as events; those that return a number return SENT,
    PENDING or BROKEN, as `Stream.send` does.
    """

    __slots__ = ("active", "address", "forward_lines", "port", "protocol", "received", "shared", "trusted")

    shared: Shared
    address: bytes
    port: int
    protocol: bytes
    trusted: bool
    forward_lines: bytes
    received: int
    active: float

    @property
    def scheme(self) -> bytes:
        """The scheme of the URLs that are asked for."""
        return b"http" if self.protocol == b"http" else b"https"

    def whole(self, status: StatusLine, meaning: ResponseMeaning, data: bytes, end: int) -> int:
        """The fast path: the whole answer as the backend sent it, its head ending at `end`. Only while
        `exchange.fast_path` is set and for heads that are marked so."""
        raise NotImplementedError

    def interim(self, status: StatusLine, lines: bytes) -> int:
        """An interim answer (1xx)."""
        raise NotImplementedError

    def begin(self, status: StatusLine, lines: bytes, length: int) -> None:
        """The final head. `lines` end in CRLF and say nothing of this connection or the transfer coding; `length` is
        as in ResponseMeaning. It goes out together with the `data` or `end` that follows."""
        raise NotImplementedError

    def data(self, data: bytes | memoryview) -> int:
        """A part of the body, without transfer coding."""
        raise NotImplementedError

    def end(self, data: bytes | memoryview, trailers: bytes) -> int:
        """The last part of the body, and its trailer lines."""
        raise NotImplementedError

    def answer(self, status: StatusLine, lines: bytes, body: bytes, *, keep: bool) -> int:
        """A whole answer that the router itself gives; nothing of another one has gone out."""
        raise NotImplementedError

    def upgrade(self, upstream: Upstream, status: StatusLine, lines: bytes, leftover: bytes) -> None:
        """A 101 with what came behind it: from here on both sides only copy."""
        raise NotImplementedError

    def finished(self, keep: bool) -> None:
        """The exchange is over and its answer complete. `keep`: the connection may go on."""
        raise NotImplementedError

    def cut(self, *, reset: bool = False) -> None:
        """Close at once; with `reset` so that an answer without a length does not look complete."""
        raise NotImplementedError


class Upstream(Stream):
    """The backend's side: a connection to an instance.

    `reused` says that it has answered before, `lasting` that it may answer again, `idle_since` is when it came to
    rest, or when connecting began. `body` is what is being read of an answer, `pipe` what a large one passes through.
    """

    __slots__ = ("body", "connecting", "idle_since", "lasting", "pipe", "reused")

    body: Body | None
    connecting: bool
    idle_since: float
    lasting: bool
    pipe: Pipe | None
    reused: bool

    def park(self) -> None:
        """Wait in the pool for the next request."""
        raise NotImplementedError

    def over(self, *, reset: bool) -> None:
        """The backend sends no more."""
        raise NotImplementedError

    def read_on(self) -> None:
        """Resume reading after yielding to other connections, if the visitor takes more."""
        raise NotImplementedError

"""The state of a request in flight, and its entry in the access log."""

from __future__ import annotations

from typing import Final

from router.middle.sides import Upstream, Visitor
from router.middle.squeeze import Squeeze
from router.report.access import FLUSH_S
from router.report.entry import quote
from router.rules.gate import Gate
from router.rules.own_answers import OwnAnswer
from router.rules.route import Backend, Route
from router.wire.request import RequestMeaning

HTTP10: Final = 10
HTTP11: Final = 11
HTTP2: Final = 20


class InFlight:
    """`version` is HTTP10, HTTP11 or HTTP2, that of the visitor; `replay` is everything sent to
    the backend so far, None when that became too much; `status` 0 until the final head has been passed on."""

    __slots__ = (
        "active",
        "answer_lines",
        "backend",
        "body_bytes",
        "connect_s",
        "fast_path",
        "gate",
        "keep",
        "meaning",
        "method",
        "own_answer",
        "received",
        "replay",
        "request_id",
        "retried",
        "route",
        "shared",
        "shown",
        "squeeze",
        "started",
        "status",
        "target",
        "tried",
        "unheard",
        "uploading",
        "upstream",
        "version",
        "visitor",
        "waiting",
    )

    def __init__(
        self,
        visitor: Visitor,
        method: bytes,
        target: bytes,
        version: int,
        meaning: RequestMeaning,
        request_id: bytes,
        route: Route | None,
    ) -> None:
        self.visitor = visitor
        self.shared = shared = visitor.shared
        self.method = method
        self.target = target
        self.shown = target  # as it is written into the log
        self.version = version
        self.meaning = meaning
        self.request_id = request_id
        self.route = route
        self.keep = (not meaning.close if version != HTTP10 else meaning.keep_alive) and not shared.draining
        # the connection is kept: an answer with nothing unusual, after all of the request, is passed on in one go
        self.fast_path = version != HTTP10 and self.keep and method != b"HEAD"
        self.started = self.active = shared.loop.now
        self.backend: Backend | None = None
        self.upstream: Upstream | None = None
        self.replay: bytes | None = None
        self.tried: tuple[Backend, ...] = ()
        self.retried = False
        self.unheard = False  # the backend takes no more of the body; its answer may still come
        self.uploading = False
        self.received = 0  # bytes of the request's body, without transfer coding
        self.connect_s = 0.0
        self.status = 0
        self.body_bytes = 0
        self.own_answer: OwnAnswer | None = None
        self.gate: Gate | None = None
        self.waiting = False
        self.squeeze: Squeeze | None = None
        self.answer_lines = b""
        """More lines for the answer: of the policy, a cookie that keeps the client at its backend."""

    @property
    def scheme(self) -> bytes:
        """That of the URL asked for: of the connection, or what a trusted proxy says."""
        return self.meaning.scheme or self.visitor.scheme

    @property
    def last_wanted(self) -> bool:
        """Whether the client asked to close after this request, which has come whole."""
        said = self.meaning.close or (self.version == HTTP10 and not self.meaning.keep_alive)
        return said and not self.uploading

    def log(self, backend: Backend | None) -> None:
        """One entry for the access log; `backend` is the one that answered or failed."""
        loop = self.shared.loop
        if self.received:
            self.shared.metrics.app(self.route).received_bytes += self.received
        visitor, meaning = self.visitor, self.meaning
        came = quote(meaning.forwarded_for) + visitor.address if meaning.forwarded_for else visitor.address
        access = self.shared.access
        entries = access.entries
        if not entries:
            loop.within(FLUSH_S)
        entries.append(
            (loop.wall, self.method, self.shown, meaning.host or b"", self.request_id, came, backend, self.connect_s,
             loop.now - self.started, self.status, self.body_bytes, self.own_answer, self.route, visitor.protocol)
        )  # fmt: skip
        if len(entries) >= access.batch:
            access.flush()

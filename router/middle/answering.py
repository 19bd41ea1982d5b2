"""The way back of an exchange: the answer of a backend, or an answer of the router itself, up to the log entry."""

from __future__ import annotations

from router.io.stream import BROKEN, PENDING
from router.middle.admission import policy_lines
from router.middle.inflight import HTTP10, InFlight
from router.middle.sides import Upstream
from router.rules.own_answers import OwnAnswer
from router.rules.route import Backend
from router.wire.response import StatusLine


class Answering(InFlight):
    """A request in flight, from its answer to its end. `Exchange` adds the way there."""

    __slots__ = ()

    # the answer of the backend

    def deliver(self, data: bytes | memoryview) -> None:
        """Pass on a part of the body. If the visitor is slower, pause reading from the backend."""
        sent = self.visitor.data(data)
        if sent == PENDING:
            if self.upstream is not None:
                self.upstream.pause()
        elif sent == BROKEN:
            self.visitor.lost()

    def complete(self, upstream: Upstream, data: bytes | memoryview = b"", trailers: bytes = b"") -> None:
        """Pass on the end of the answer."""
        if self.visitor.end(data, trailers) == BROKEN:
            self.visitor.lost()
        else:
            self.finish(upstream)

    def finish(self, upstream: Upstream) -> None:
        """The whole answer, which came over this connection, has been passed on."""
        backend = self.backend
        assert backend is not None
        complete = not self.uploading
        self.log(backend)
        if upstream.lasting and complete and not (backend.draining or self.unheard or upstream.out):
            self.upstream = self.backend = None
            backend.inflight -= 1
            upstream.park()
        else:
            self.release_backend()
        self.visitor.finished(self.keep and complete)
        if self.gate is not None:
            self.leave()

    def end_tunnel(self) -> None:
        """The tunnel that this exchange opened has been closed."""
        self.log(self.backend)
        self.release_backend()
        self.leave()

    # an answer of the router

    def fail(self, own_answer: OwnAnswer, *, close: bool = False, lines: bytes = b"") -> None:
        """End the request: send a page with these additional header lines, or cut the connection if the head of an
        answer has gone out already."""
        visitor = self.visitor
        backend = self.backend or (self.tried[-1] if self.tried else None)
        self.release_backend()
        self.own_answer = own_answer
        if self.status or own_answer.status == 499:
            self.status = 499 if own_answer.status == 499 else self.status
            self.log(backend)
            visitor.cut(reset=self.version == HTTP10)
            self.leave()
            return
        policy = self.route.policy if self.route is not None else None
        status, own_lines, page = self.shared.pages.answer(
            own_answer, self.request_id, own=policy.pages if policy is not None else {}
        )
        lines = own_lines + policy_lines(policy, self.scheme == b"https") + lines
        self._answer(
            status, lines, page, keep=self.keep and not self.uploading and not close, backend=backend
        )
        self.leave()

    def _answer(
        self, status: StatusLine, lines: bytes, body: bytes, *, keep: bool, backend: Backend | None = None
    ) -> None:
        """Send an answer that no backend gave."""
        if self.method == b"HEAD":
            body = b""
        self.status = status.code
        self.body_bytes = len(body)
        self.log(backend)
        if self.visitor.answer(status, lines, body, keep=keep) == BROKEN:
            self.visitor.cut()
        else:
            self.visitor.finished(keep)

    # what is released

    def release_backend(self) -> None:
        """Close the connection to the backend, and count the request as over there."""
        upstream, backend = self.upstream, self.backend
        if upstream is not None:
            self.upstream = None
            upstream.close()
        if backend is not None:
            self.backend = None
            backend.inflight -= 1
            if backend.draining and not backend.inflight:
                self.shared.upstreams.drained(backend)

    def leave(self) -> None:
        """Free this request's place at the gate, if it has one."""
        gate, self.gate = self.gate, None
        if gate is not None:
            if self.waiting:
                gate.forget(self.admitted)
            else:
                gate.leave()

    def admitted(self) -> None:
        """The gate lets the request through."""
        raise NotImplementedError

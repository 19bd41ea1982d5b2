"""The way of a request to a backend: admission, the app's gate, the choice of a backend, the body, retries.

The phases of a request, in order:

1. `front.requests.begin` reads the head and looks up the route. (A stream of HTTP/2 first writes its fields as a head.)
2. `Exchange.open` rewrites the head and asks the app's policy. If there is no route, or the policy refuses, the router
   answers.
3. `Exchange.start` asks the app's gate: the request goes on, waits, or is refused.
4. `Exchange.dispatch` chooses a backend, gets a connection from its pool or opens one, and sends the request.
   After `refused`, `stale` or `unanswered` it may run again, with another backend or another connection.
5. `back.connection` reads the answer. The visitor gets its head (`begin`), then its body (`Answering.deliver`,
   `complete`).
6. `Answering.finish` writes the access log, parks or closes the connection to the backend, and tells the visitor.

Most requests take the fast path: `front.http1._fast_path`, `dispatch`, `back.connection` with `Visitor.whole`,
`finish`.
"""

from __future__ import annotations

import errno
from typing import Final

from router.io.stream import BROKEN, PENDING
from router.middle.admission import Refusal, admit, asked_port, asking_address, pick, policy_lines
from router.middle.answering import Answering
from router.middle.sides import Upstream
from router.middle.squeeze import Squeeze, accepts_gzip
from router.rules.gate import FULL, WAITS
from router.rules.own_answers import ANSWERS
from router.rules.policy import Ask, Policy, affinity_cookie, affinity_of
from router.rules.route import Backend, Pool, Route, choose
from router.wire import rewrite
from router.wire.chunked import encode, encode_end
from router.wire.response import parse_status_line

IDEMPOTENT: Final = frozenset(
    [b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE", b"PROPFIND", b"REPORT"]
)
REPLAY_BYTES: Final = 160 * 1024
"""A request that has sent more than this to a backend cannot be sent to another."""
ATTEMPTS: Final = 4
"""How many backends are tried when connections are refused."""
LOCAL_ERRORS: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""Connecting failed for want of descriptors or memory here; the backend is not to blame."""
_OK: Final = parse_status_line(b"HTTP/1.1 200 OK")


class Exchange(Answering):
    """A request in flight, from its head to the backend."""

    __slots__ = ()

    # the request

    def open(self, head: bytes) -> bool:
        """Rewrite the head and ask the policy; False if the request has been answered already. `head` is the request
        line and header lines, in the form of HTTP/1.1."""
        visitor, meaning, route = self.visitor, self.meaning, self.route
        self.uploading = meaning.length != 0
        if route is None:
            self.fail(ANSWERS["unknown-host"])
            return False
        lines = visitor.forward_lines
        if meaning.scheme or meaning.port:
            port = meaning.port or (443 if meaning.scheme == b"https" else visitor.port)
            lines = rewrite.forward_lines(self.scheme, port)
        self.replay = head = rewrite.request_head(
            head, meaning, visitor.address, lines, self.shared.wall_ms(), self.request_id
        )
        return route.policy is None or self._admit(route.policy, head)

    def _admit(self, policy: Policy, head: bytes) -> bool:
        visitor, meaning = self.visitor, self.meaning
        ruling = admit(
            policy,
            Ask(
                method=self.method,
                host=meaning.host or b"",
                target=self.target,
                head=head,
                address=asking_address(visitor.address, visitor.trusted, meaning.forwarded_for),
                scheme=self.scheme,
                port=asked_port(meaning.scheme, meaning.port, visitor.port),
                length=meaning.length,
                https_port=(0 if meaning.scheme else self.shared.table.https_port) or 443,
            ),
        )
        if isinstance(ruling, Refusal):
            if ruling.own_answer is not None:
                self.fail(ruling.own_answer, lines=ruling.lines)
            else:
                lines = b"Content-Type: text/plain\r\nContent-Length: %d\r\n" % len(ruling.text)
                self._answer(_OK, lines, ruling.text, keep=self.keep and not self.uploading)
            return False
        self.answer_lines = ruling.lines
        if policy.compress:
            self.squeeze = Squeeze(self.method, wanted=accepts_gzip(head))
        if ruling.lines or policy.compress:
            self.fast_path = False
        return True

    def start(self, data: bytes = b"", *, done: bool = True, trailers: bytes = b"") -> None:
        """Send the request as soon as the gate allows. `data` is the beginning of its body, all of it if `done`."""
        if self.uploading:
            body = self._coded(data, done, trailers)
            if body is None:
                return
            if body:
                assert self.replay is not None
                self.replay += body
        route = self.route
        assert route is not None
        gate = route.gate
        if gate is None:
            self.dispatch()
            return
        passed = gate.enter(self.admitted)
        if passed == FULL:
            self.fail(ANSWERS["backlog"])
            return
        self.gate = gate
        if passed == WAITS:
            self.waiting = True
            if self.uploading:
                self.visitor.pause()
        else:
            self.dispatch()

    def admitted(self) -> None:
        """The gate lets the request through. Its route may have changed while it waited."""
        self.waiting = False
        self.active = self.shared.loop.now
        self._renew_route()
        if self.uploading:
            self.visitor.resume()
        self.dispatch()

    def _coded(self, data: bytes, done: bool, trailers: bytes) -> bytes | None:
        """A part of the body, encoded for the backend; None if the body is too long and an answer was sent."""
        self.received += len(data)
        if self.meaning.length < 0:
            policy = self.route.policy if self.route is not None else None
            if policy is not None and 0 < policy.body_limit_bytes < self.received:
                self.fail(ANSWERS["too-large"], close=True)
                return None
            data = encode(data)
            if done:
                data += encode_end(trailers)
        if done:
            self.uploading = False
        return data

    def upload(self, data: bytes, *, done: bool, trailers: bytes = b"") -> None:
        """More of the request body has come."""
        self.active = self.shared.loop.now
        body = self._coded(data, done, trailers)
        if body is None:
            return
        if self.replay is not None:
            self.replay = self.replay + body if len(self.replay) + len(body) <= REPLAY_BYTES else None
        if self.unheard or not body:
            return
        if self.upstream is None:  # the request still waits at the gate
            self.visitor.pause()
            return
        sent = self.upstream.send(body)
        if sent == PENDING and self.uploading:
            self.visitor.pause()
        elif sent == BROKEN:
            self.unheard = True

    def dispatch(self, backend: Backend | None = None, *, fresh: bool = False) -> None:
        """Send the request to `backend`, or to one that is chosen; over a new connection if `fresh`."""
        if backend is None:
            route = self.route
            assert route is not None
            if route.needs_pick:
                backend = self._pick(route)
            elif route.pool is not None:
                backend = choose(route.pool, self.tried)
            if backend is None:
                self.fail(ANSWERS["refused"] if self.tried else route.own_answer)
                return
        self.backend = backend
        backend.inflight += 1
        backend.requests += 1
        try:
            upstream: Upstream = self.shared.upstreams.connect(
                backend, self, fresh=fresh, repeatable=self.method in IDEMPOTENT
            )
        except OSError as error:
            self.refused(error.errno or 0)
            return
        self.upstream = upstream
        assert self.replay is not None
        if upstream.connecting:
            upstream.out = bytearray(self.replay)
            sent = PENDING
        else:
            sent = upstream.send(self.replay)
        if sent == BROKEN:
            if upstream.reused:
                self.stale(nothing_sent=True)
            else:
                self.unheard = True
        elif self.uploading:
            self.visitor.pause() if sent == PENDING else self.visitor.resume()

    def _pick(self, route: Route) -> Backend | None:
        """The backend that the client's cookie names, or one chosen by shares; with affinity, the answer sets the
        cookie."""
        policy = route.policy
        secret = policy.sticky if policy is not None else ""
        named = affinity_of(secret, self.replay or b"") if secret else ""
        backend = pick(route, self.tried, named)
        if backend is not None and secret:
            secure = self.scheme == b"https"
            self.answer_lines = policy_lines(policy, secure)
            if backend.id != named:
                self.answer_lines += affinity_cookie(secret, backend.id, secure=secure)
                self.fast_path = False
        return backend

    # retries

    def refused(self, number: int) -> None:
        """Connecting failed with this errno: eject the backend and try another one."""
        backend = self.backend
        assert backend is not None
        if number not in LOCAL_ERRORS:
            self.shared.upstreams.eject(backend)
        self.release_backend()
        self.tried += (backend,)
        pool = self._renew_route()
        if pool is not None and len(self.tried) < ATTEMPTS and choose(pool, self.tried) is not None:
            self.shared.metrics.retries += 1
            self.dispatch()
        elif number in LOCAL_ERRORS:
            self.fail(ANSWERS["platform"])
        else:
            self.fail(ANSWERS["connect-timeout" if number == errno.ETIMEDOUT else "refused"])

    def stale(self, *, nothing_sent: bool = False) -> None:
        """A pooled connection ended before the first byte of an answer: retry once over a new one, where that is
        safe."""
        backend = self.backend
        assert backend is not None
        safe = nothing_sent or self.method in IDEMPOTENT
        self.release_backend()
        if self.retried or self.replay is None or not safe:
            self.tried += (backend,)
            self.fail(ANSWERS["no-response"])
            return
        self.retried = True
        self.shared.metrics.retries += 1
        if backend.draining:
            self._renew_route()
            self.dispatch()
        else:
            self.dispatch(backend, fresh=True)

    def unanswered(self) -> None:
        """A new connection ended before the first byte of an answer: retry an idempotent request once, elsewhere."""
        backend = self.backend
        assert backend is not None
        backend.failures += 1
        self.tried += (backend,)
        self.release_backend()
        pool = self._renew_route()
        again = not self.retried and self.replay is not None and self.method in IDEMPOTENT
        if again and pool is not None and choose(pool, (backend,)) is not None:
            self.retried = True
            self.shared.metrics.retries += 1
            self.dispatch()
        else:
            self.fail(ANSWERS["no-response"])

    def _renew_route(self) -> Pool | None:
        """Take the route from the current table, which may be newer than the request; its pool."""
        if self.route is not None:
            self.route = self.shared.table.lookup(self.meaning.host or b"", self.target) or self.route
        return self.route.pool if self.route is not None else None

"""One request and its answer: which backend gets it, what is tried again, how the body goes up, how it ends.

The phases of a request, in order, and where each is found:

1. `front.http1._begin` reads the head, `front.h2stream._begin` that of a block of fields; the table gives the route.
2. `Exchange.open`: no route, or a policy that refuses: the router answers.
3. `Exchange.start`: the gate of the app lets it through, has it wait or turns it away.
4. `Exchange.dispatch`: a backend is chosen, a connection taken from its pool or opened, the request sent.
   `refused`, `stale` and `unanswered` come back to it, with another backend or another connection.
5. `back.connection` reads the answer and gives it to the visitor: `begin`, `deliver` …, `complete`.
6. `Exchange.finish` logs, parks or closes the upstream, and has the visitor go on.

Most requests need no more than the fast path through these: `front.http1._fast_path`, then `dispatch`, then
`back.connection` with `Visitor.whole`, then `finish`.
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
ATTEMPTS: Final = 4
OUR_FAULT: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_OK: Final = parse_status_line(b"HTTP/1.1 200 OK")


class Exchange(Answering):
    """A request in flight, and what is done with it."""

    __slots__ = ()

    # the request

    def open(self, head: bytes, authority: bytes | None = None) -> bool:
        """Whether the request may go on; else it has been answered. `head` is the request line and header lines, in
        the form of HTTP/1.1; `authority` replaces Host."""
        visitor, meaning, route = self.visitor, self.meaning, self.route
        self.uploading = meaning.length != 0
        if route is None:
            self.fail(ANSWERS["unknown-host"])
            return False
        lines = visitor.forward_lines
        if meaning.scheme or meaning.port:
            port = meaning.port or (443 if meaning.scheme == b"https" else visitor.port)
            lines = rewrite.client_lines(visitor.address, port, self.scheme)
        head = rewrite.request_head(head, meaning, lines, self.shared.wall_ms(), self.request_id, authority)
        self.replay = head
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
        """Send the request, with what has come of its body (`done`: all of it)."""
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
        """The gate has opened; routes may have changed meanwhile."""
        self.waiting = False
        self.active = self.shared.loop.now
        self._pool()
        if self.uploading:
            self.visitor.resume()
        self.dispatch()

    def _coded(self, data: bytes, done: bool, trailers: bytes) -> bytes | None:
        """A part of the body in the form in which it goes to the backend; None when it is too long: answered."""
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
        if self.upstream is None:  # it still waits at the gate
            self.visitor.pause()
            return
        sent = self.upstream.send(body)
        if sent == PENDING and self.uploading:
            self.visitor.pause()
        elif sent == BROKEN:
            self.unheard = True

    def dispatch(self, backend: Backend | None = None, *, fresh: bool = False) -> None:
        """Give the request to a backend, over a pooled connection where there is one and it need not be `fresh`."""
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
        """A backend by shares, or the one that a cookie names; the answer gets a cookie that names it."""
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

    # what may go wrong

    def refused(self, number: int) -> None:
        """No connection could be made: the backend sits out, another one gets the request."""
        backend = self.backend
        assert backend is not None
        if number not in OUR_FAULT:
            self.shared.upstreams.eject(backend)
        self.release_backend()
        self.tried += (backend,)
        pool = self._pool()
        if pool is not None and len(self.tried) < ATTEMPTS and choose(pool, self.tried) is not None:
            self.shared.metrics.retries += 1
            self.dispatch()
        elif number in OUR_FAULT:
            self.fail(ANSWERS["platform"])
        else:
            self.fail(ANSWERS["connect-timeout" if number == errno.ETIMEDOUT else "refused"])

    def stale(self, *, nothing_sent: bool = False) -> None:
        """A pooled connection ended before the first byte of an answer: once more, over a fresh one, where safe."""
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
            self._pool()
            self.dispatch()
        else:
            self.dispatch(backend, fresh=True)

    def unanswered(self) -> None:
        """A fresh connection ended before the first byte: another instance gets an idempotent request, once."""
        backend = self.backend
        assert backend is not None
        backend.failures += 1
        self.tried += (backend,)
        self.release_backend()
        pool = self._pool()
        again = not self.retried and self.replay is not None and self.method in IDEMPOTENT
        if again and pool is not None and choose(pool, (backend,)) is not None:
            self.retried = True
            self.shared.metrics.retries += 1
            self.dispatch()
        else:
            self.fail(ANSWERS["no-response"])

    def _pool(self) -> Pool | None:
        """The pool in the current table: routes may have changed since the request came."""
        if self.route is not None:
            self.route = self.shared.table.lookup(self.meaning.host or b"", self.target) or self.route
        return self.route.pool if self.route is not None else None

"""One request and its answer: which backend gets it, what is tried again, how the body goes up, how it ends."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from router.io.stream import BROKEN, PENDING
from router.middle import gate
from router.report.access import FLUSH_S
from router.report.entry import quote
from router.rules.failures import FAILURES, Failure, of_status
from router.rules.route import choose
from router.wire.chunked import BadChunk
from router.wire.upload import Upload

if TYPE_CHECKING:
    from router.back.connection import BackendConnection
    from router.front.http1 import ClientConnection
    from router.middle.squeeze import Squeeze
    from router.rules.route import Backend, Pool, Route
    from router.wire.request import RequestMeaning

IDEMPOTENT: Final = frozenset(
    [b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE", b"PROPFIND", b"REPORT"]
)
REPLAY_BYTES: Final = 160 * 1024
ATTEMPTS: Final = 4
OUR_FAULT: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Exchange:
    """A request in flight. `replay` is everything sent to the backend so far, None when that became too much;
    `status` 0 until the final response head has been passed on."""

    __slots__ = (
        "active",
        "backend",
        "body",
        "body_bytes",
        "client",
        "connect_s",
        "connection",
        "failure",
        "gate",
        "keep",
        "lines",
        "meaning",
        "method",
        "minor",
        "ordinary",
        "proxy",
        "replay",
        "request_id",
        "retried",
        "route",
        "shown",
        "squeeze",
        "started",
        "status",
        "target",
        "tried",
        "unheard",
        "uploading",
        "waiting",
    )

    def __init__(
        self,
        client: ClientConnection,
        method: bytes,
        target: bytes,
        minor: int,
        meaning: RequestMeaning,
        request_id: bytes,
        route: Route | None,
    ) -> None:
        self.client = client
        self.proxy = proxy = client.proxy
        self.method = method
        self.target = target
        self.shown = target
        """As it is written into the log."""
        self.minor = minor
        self.meaning = meaning
        self.request_id = request_id
        self.route = route
        self.keep = (not meaning.close if minor else meaning.keep_alive) and not proxy.draining
        self.ordinary = minor and self.keep and not meaning.length and method != b"HEAD"
        """No body, HTTP/1.1, and the connection is kept: an ordinary answer can be passed on in one go."""
        self.started = self.active = proxy.loop.now
        self.backend: Backend | None = None
        self.connection: BackendConnection | None = None
        self.replay: bytes | None = None
        self.tried: tuple[Backend, ...] = ()
        self.retried = False
        self.unheard = False
        """The backend takes no more of the body; its answer may still come."""
        self.uploading = False
        self.body: Upload | None = None
        self.connect_s = 0.0
        self.status = 0
        self.body_bytes = 0
        self.failure: Failure | None = None
        self.gate: gate.Gate | None = None
        self.waiting = False
        self.squeeze: Squeeze | None = None
        self.lines = b""
        """More lines for the response: of the policy, a cookie that keeps the client at its backend."""

    @property
    def last_wanted(self) -> bool:
        """Whether this is the client's last request by its own word, and has come whole."""
        return not self.uploading and (self.meaning.close or not (self.minor or self.meaning.keep_alive))

    # towards the backend

    def start(self, head: bytes, rest: bytes) -> None:
        """Send the request, with what has come of its body; `rest` beyond the body goes back to the client."""
        meaning, route = self.meaning, self.route
        assert route is not None
        self.uploading = meaning.length != 0
        if not self.uploading:
            self.client.buffer = rest
        if route.policy is not None and gate.refused(self, route.policy, head):
            return
        if self.uploading:
            limit = route.policy.body_limit_bytes if route.policy is not None else 0
            self.body = Upload(meaning.length, limit)
            if rest:
                try:
                    head += self._take(rest)
                except BadChunk as error:
                    self.fail(of_status(error.status), close=True)
                    return
        self.replay = head
        if route.gate is None:
            self.dispatch()
        else:
            gate.enter(self, route.gate)

    def go_on(self) -> None:
        """The gate has opened; routes may have changed meanwhile."""
        self.waiting = False
        self.active = self.proxy.loop.now
        self._pool()
        if self.uploading:
            self.client.resume()
        self.dispatch()

    def leave(self) -> None:
        """Free the place at the gate, if there is one."""
        place, self.gate = self.gate, None
        if place is not None:
            if self.waiting:
                place.forget(self)
            else:
                place.leave()

    def _take(self, data: bytes) -> bytes:
        """The form in which these bytes of the body go to the backend. Raises BadChunk."""
        upload = self.body
        assert upload is not None
        data = upload.take(data)
        if upload.done:
            self.uploading = False
            self.client.buffer = upload.rest
        return data

    def upload(self, data: bytes) -> None:
        """More of the request body has come."""
        self.active = self.proxy.loop.now
        try:
            data = self._take(data)
        except BadChunk as error:
            self.fail(of_status(error.status), close=True)
            return
        if self.replay is not None:
            self.replay = self.replay + data if len(self.replay) + len(data) <= REPLAY_BYTES else None
        if self.unheard or not data:
            return
        if self.connection is None:  # still waiting at the gate
            self.client.pause()
            return
        sent = self.connection.send(data)
        if sent == PENDING and self.uploading:
            self.client.pause()
        elif sent == BROKEN:
            self.unheard = True

    def dispatch(self, backend: Backend | None = None, *, fresh: bool = False) -> None:
        """Give the request to a backend, over a pooled connection where there is one and it need not be `fresh`."""
        if backend is None:
            route = self.route
            assert route is not None
            if route.needs_pick:
                backend = gate.pick(self, route)
            elif route.pool is not None:
                backend = choose(route.pool, self.tried)
            if backend is None:
                self.fail(FAILURES["refused"] if self.tried else route.failure)
                return
        self.backend = backend
        backend.inflight += 1
        backend.requests += 1
        idle = backend.idle
        connection: BackendConnection | None = None
        if idle and not fresh:
            connection = idle.pop()
            if (
                self.method not in IDEMPOTENT
                and self.proxy.loop.now - connection.idle_since > self.proxy.limits.fresh_s
            ):
                connection.close()
                connection = None
        if connection is None:
            try:
                connection = self.proxy.connect(backend)
            except OSError as error:
                self.refused(error.errno or 0)
                return
        self.connection = connection
        assert self.replay is not None
        connection.exchange = self
        if connection.connecting:
            connection.out = bytearray(self.replay)
            sent = PENDING
        else:
            sent = connection.send(self.replay)
        if sent == BROKEN:
            if connection.reused:
                self.stale(nothing_sent=True)
            else:
                self.unheard = True
        elif self.uploading:
            self.client.pause() if sent == PENDING else self.client.resume()

    # what may go wrong

    def refused(self, number: int) -> None:
        """No connection could be made: the backend sits out, another one gets the request."""
        backend = self.backend
        assert backend is not None
        if number not in OUR_FAULT:
            self.proxy.eject(backend)
        self.let_go()
        self.tried += (backend,)
        pool = self._pool()
        if pool is not None and len(self.tried) < ATTEMPTS and choose(pool, self.tried) is not None:
            self.proxy.metrics.retries += 1
            self.dispatch()
        elif number in OUR_FAULT:
            self.fail(FAILURES["platform"])
        else:
            self.fail(FAILURES["connect-timeout" if number == errno.ETIMEDOUT else "refused"])

    def stale(self, *, nothing_sent: bool = False) -> None:
        """A pooled connection ended before the first byte of an answer: once more, over a fresh one, where safe."""
        backend = self.backend
        assert backend is not None
        safe = nothing_sent or self.method in IDEMPOTENT
        self.let_go()
        if self.retried or self.replay is None or not safe:
            self.tried += (backend,)
            self.fail(FAILURES["no-response"])
            return
        self.retried = True
        self.proxy.metrics.retries += 1
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
        self.let_go()
        pool = self._pool()
        again = not self.retried and self.replay is not None and self.method in IDEMPOTENT
        if again and pool is not None and choose(pool, (backend,)) is not None:
            self.retried = True
            self.proxy.metrics.retries += 1
            self.dispatch()
        else:
            self.fail(FAILURES["no-response"])

    def _pool(self) -> Pool | None:
        """The pool by the table of now: routes may have changed since the request came."""
        if self.route is not None:
            self.route = self.proxy.table.lookup(self.meaning.host or b"", self.target) or self.route
        return self.route.pool if self.route is not None else None

    def let_go(self) -> None:
        """Part from the backend and close the connection to it."""
        connection, backend = self.connection, self.backend
        if connection is not None:
            self.connection = None
            connection.exchange = None
            connection.close()
        if backend is not None:
            self.backend = None
            backend.inflight -= 1
            if backend.draining and not backend.inflight:
                self.proxy.drained(backend)

    def fail(self, failure: Failure, *, close: bool = False, lines: bytes = b"") -> None:
        """End with a failure: an error page, with these header lines more, or a cut connection if a response head
        has gone out already."""
        client = self.client
        backend = self.backend or (self.tried[-1] if self.tried else None)
        self.let_go()
        self.failure = failure
        if self.status or failure.status == 499:
            self.status = 499 if failure.status == 499 else self.status
            self.log(backend)
            client.cut(reset=not self.minor)
            self.leave()
            return
        keep = self.keep and not self.uploading and not close
        policy = self.route.policy if self.route is not None else None
        answer, self.body_bytes = self.proxy.pages.answer(
            failure, self.request_id, close=not keep, head_only=self.method == b"HEAD",
            lines=gate.lines(self) + lines,
            own=policy.pages if policy is not None else {},
        )  # fmt: skip
        self.status = failure.status
        self.log(backend)
        if client.send(answer) == BROKEN:
            client.cut()
        else:
            client.finished(keep)
        self.leave()

    # the end

    def finish(self, connection: BackendConnection) -> None:
        """The response, which came over this connection, has been passed on entirely."""
        backend = connection.owner
        complete = not self.uploading
        self.log(backend)
        if connection.lasting and complete and not (backend.draining or self.unheard or connection.out):
            self.connection = self.backend = None
            backend.inflight -= 1
            connection.rest()
        else:
            self.let_go()
        self.client.finished(self.keep and complete)
        if self.gate is not None:
            self.leave()

    def end_tunnel(self) -> None:
        """The tunnel that this exchange opened has been closed."""
        self.log(self.backend)
        self.let_go()
        self.leave()

    def log(self, backend: Backend | None) -> None:
        """One entry for the access log; `backend` is the one that answered or failed."""
        loop = self.proxy.loop
        if self.body is not None:
            self.proxy.metrics.app(self.route).received_bytes += self.body.received
        client, meaning = self.client, self.meaning
        came = quote(meaning.forwarded_for) + client.address if meaning.forwarded_for else client.address
        access = self.proxy.access
        entries = access.entries
        if not entries:
            loop.within(FLUSH_S)
        entries.append(
            (loop.wall, self.method, self.shown, meaning.host or b"", self.request_id, came, backend, self.connect_s,
             loop.now - self.started, self.status, self.body_bytes, self.failure, self.route, client.protocol)
        )  # fmt: skip
        if len(entries) >= access.batch:
            access.flush()

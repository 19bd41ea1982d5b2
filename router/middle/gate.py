"""Between a request and the backends of its app: what the policy refuses, what has to wait, what stays together."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from ipaddress import ip_address
from typing import TYPE_CHECKING

from router.io.stream import BROKEN
from router.middle.squeeze import Squeeze, accepts_gzip
from router.rules.failures import FAILURES
from router.rules.policy import Policy, affinity_cookie, affinity_of, judge
from router.rules.route import Backend, Route, choose, pick_pool

if TYPE_CHECKING:
    from router.middle.exchange import Exchange


class Gate:
    """Lets through as many requests of an app as its limit allows, none while it is paused. Kept across tables.
    `inside` counts requests that went through and are not over."""

    __slots__ = ("_opening", "inside", "limit", "paused", "queue", "waiting")

    def __init__(self) -> None:
        self.inside = 0
        self.limit = 0
        self.queue = 0
        self.paused = False
        self.waiting: OrderedDict[Exchange, None] = OrderedDict()
        self._opening = False

    def rule(self, policy: Policy | None) -> None:
        """Take over what a new table says."""
        self.limit = policy.max_inflight if policy is not None else 0
        self.queue = policy.queue if policy is not None else 0
        self.paused = policy is not None and policy.pause

    def enter(self, exchange: Exchange) -> bool | None:
        """True: go on. False: it waits, `go_on` of the exchange will be called. None: too many wait already."""
        if not self._closed() and not self.waiting:
            self.inside += 1
            return True
        if len(self.waiting) >= self.queue:
            return None
        self.waiting[exchange] = None
        return False

    def leave(self) -> None:
        """A request that went through is over."""
        self.inside -= 1
        self.open()

    def forget(self, exchange: Exchange) -> None:
        """A waiting request is over."""
        del self.waiting[exchange]

    def open(self) -> None:
        """Let through as many as may. One that is over at once opens the gate again: that is left to the loop here."""
        if self._opening:
            return
        self._opening = True
        try:
            while self.waiting and not self._closed():
                self.inside += 1
                self.waiting.popitem(last=False)[0].go_on()
        finally:
            self._opening = False

    def _closed(self) -> bool:
        return self.paused or 0 < self.limit <= self.inside


def refused(exchange: Exchange, policy: Policy, head: bytes) -> bool:
    """Whether the policy has the router answer the request; then that is done."""
    if policy.challenge:
        _tell(exchange, policy.challenge)
        return True
    meaning, client = exchange.meaning, exchange.client
    exchange.lines = lines(exchange)
    if exchange.lines:
        exchange.ordinary = False
    refusal = judge(
        policy,
        method=exchange.method,
        host=meaning.host or b"",
        target=exchange.target,
        head=head,
        address=_address(exchange),
        origin=b"%b:%d" % (meaning.scheme or client.scheme, _port(exchange)),
        length=meaning.length,
        https_port=(0 if meaning.scheme else exchange.proxy.table.https_port) or 443,
    )
    if refusal is None:
        if policy.compress:
            exchange.squeeze = Squeeze(exchange.method, exchange.minor, wanted=accepts_gzip(head))
            exchange.ordinary = False
        return False
    exchange.fail(refusal[0], lines=refusal[1])
    return True


def lines(exchange: Exchange) -> bytes:
    """Header lines that the policy adds to every response."""
    policy = exchange.route.policy if exchange.route is not None else None
    if policy is None or not policy.hsts_s:
        return b""
    if (exchange.meaning.scheme or exchange.client.scheme) != b"https":
        return b""
    return b"Strict-Transport-Security: max-age=%d\r\n" % policy.hsts_s


def _tell(exchange: Exchange, text: bytes) -> None:
    """Answer with a text."""
    client = exchange.client
    keep = exchange.keep and not exchange.uploading
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n%b\r\n" % (
        len(text),
        b"" if keep else b"Connection: close\r\n",
    )
    exchange.status = 200
    exchange.body_bytes = 0 if exchange.method == b"HEAD" else len(text)
    exchange.log(None)
    if client.send(head if exchange.method == b"HEAD" else head + text) == BROKEN:
        client.cut()
    else:
        client.finished(keep)


def _address(exchange: Exchange) -> bytes:
    """Where the request comes from: behind a proxy that is trusted, what that saw."""
    client = exchange.client
    if client.trusted and exchange.meaning.forwarded_for:
        seen = exchange.meaning.forwarded_for.rstrip(b", ").rpartition(b",")[2].strip()
        with contextlib.suppress(ValueError):
            return str(ip_address(seen.decode("latin-1"))).encode()
    return client.address


def _port(exchange: Exchange) -> int:
    meaning = exchange.meaning
    usual = {b"https": 443, b"http": 80}
    return meaning.port or usual.get(meaning.scheme, 0) or exchange.client.port


def enter(exchange: Exchange, gate: Gate) -> None:
    """Go through the app's gate, or wait there, or be turned away."""
    passed = gate.enter(exchange)
    if passed is None:
        exchange.fail(FAILURES["backlog"])
        return
    exchange.gate = gate
    if passed:
        exchange.dispatch()
        return
    exchange.waiting = True
    if exchange.uploading:
        exchange.client.pause()


def pick(exchange: Exchange, route: Route) -> Backend | None:
    """A backend for a route with shares or affinity: the one that the client's cookie names while it is ready, else
    one of a pool picked by its share, or of another one while none of that is fit; the response then gets a cookie
    that names it."""
    secret = route.policy.sticky if route.policy is not None else ""
    pools = route.pools()
    fit = [pool for pool in pools if pool.fit]
    named = affinity_of(secret, exchange.replay or b"") if secret else ""
    for pool in fit or pools:
        for backend in pool.ready:
            if backend.id == named and backend not in exchange.tried:
                exchange.lines = lines(exchange)
                return backend
    first = pick_pool(route)
    for pool in [first, *fit, *pools] if first is not None and first.fit else [*fit, *pools]:
        chosen = choose(pool, exchange.tried)
        if chosen is not None:
            if secret:
                secure = (exchange.meaning.scheme or exchange.client.scheme) == b"https"
                exchange.lines = lines(exchange) + affinity_cookie(secret, chosen.id, secure=secure)
                exchange.ordinary = False
            return chosen
    return None

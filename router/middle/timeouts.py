"""Timeouts of requests, checked once a second."""

from __future__ import annotations

import errno

from router.middle.exchange import Exchange
from router.rules.own_answers import ANSWERS
from router.rules.policy import Policy


def check(exchange: Exchange, now: float) -> None:
    """Fail an exchange that has passed one of its limits."""
    limits = exchange.shared.limits
    upstream = exchange.upstream
    if exchange.waiting:
        policy = _policy(exchange)
        if policy is None or now - exchange.started > policy.queue_s:
            exchange.fail(ANSWERS["backlog"])
    elif upstream is not None and upstream.connecting:
        if now - upstream.idle_since > limits.connect_s:
            exchange.refused(errno.ETIMEDOUT)
    elif exchange.status:
        if now - exchange.active > rolling_s(exchange):
            unread = exchange.visitor.out or (upstream is not None and upstream.pipe is not None)
            exchange.fail(ANSWERS["client-gone" if unread else "idle"])
    elif exchange.uploading and not (upstream is not None and upstream.out):
        slow = now - exchange.started - limits.body_grace_s
        late = now - exchange.active > rolling_s(exchange)
        if late or exchange.visitor.received < slow * limits.body_bytes_per_s:
            exchange.fail(ANSWERS["slow-request"], close=True)
    elif now - exchange.active > _first_byte_s(exchange):
        exchange.fail(ANSWERS["first-byte"])


def rolling_s(exchange: Exchange) -> float:
    """The longest pause within a body or a tunnel."""
    policy = _policy(exchange)
    return (policy.rolling_s if policy is not None else 0.0) or exchange.shared.limits.rolling_s


def _first_byte_s(exchange: Exchange) -> float:
    policy = _policy(exchange)
    return (policy.first_byte_s if policy is not None else 0.0) or exchange.shared.limits.first_byte_s


def _policy(exchange: Exchange) -> Policy | None:
    """The policy of the app in the current table, because a tunnel outlives many tables."""
    route = exchange.route
    if route is None:
        return None
    current = exchange.shared.table.lookup(exchange.meaning.host or b"", exchange.target)
    return current.policy if current is not None and current.app == route.app else route.policy

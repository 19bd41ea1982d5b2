"""Applies an app's policy to a request before a backend gets it: the request passes, or the router answers.

Pure functions; the exchange acts on their results.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from ipaddress import ip_address

from router.rules.own_answers import OwnAnswer
from router.rules.policy import Ask, Policy, judge
from router.rules.route import Backend, Route, choose, pick_pool


@dataclass(frozen=True, slots=True)
class Pass:
    """The request passes; these header lines are added to the answer."""

    lines: bytes = b""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Send `own_answer` with these header lines; where it is None, a plain 200 with `text`."""

    own_answer: OwnAnswer | None
    lines: bytes = b""
    text: bytes = b""


def admit(policy: Policy, ask: Ask) -> Pass | Refusal:
    """Whether the policy lets this request through."""
    if policy.challenge:
        return Refusal(None, text=policy.challenge)
    refusal = judge(policy, ask)
    if refusal is not None:
        return Refusal(*refusal)
    return Pass(policy_lines(policy, ask.secure))


def policy_lines(policy: Policy | None, secure: bool) -> bytes:
    """Header lines that the policy adds to every answer, the router's own among them."""
    if policy is None or not policy.hsts_s or not secure:
        return b""
    return b"Strict-Transport-Security: max-age=%d\r\n" % policy.hsts_s


def asking_address(address: bytes, trusted: bool, forwarded_for: bytes) -> bytes:
    """Where a request comes from: behind a proxy that is trusted, the last address that it names."""
    if trusted and forwarded_for:
        seen = forwarded_for.rstrip(b", ").rpartition(b",")[2].strip()
        with contextlib.suppress(ValueError):
            return str(ip_address(seen.decode("latin-1"))).encode()
    return address


def asked_port(scheme: bytes, port: int, own: int) -> int:
    """The port that a request was sent to: what a trusted proxy says, else our own."""
    return port or {b"https": 443, b"http": 80}.get(scheme, 0) or own


def pick(route: Route, tried: tuple[Backend, ...], named: str) -> Backend | None:
    """A backend for a route with shares or affinity: the one that the client's cookie names while it is ready, else
    one of a pool picked by its share, or of another pool while no backend of that is fit."""
    pools = route.pools()
    fit = [pool for pool in pools if pool.fit]
    for pool in fit or pools:
        for backend in pool.ready:
            if backend.id == named and backend not in tried:
                return backend
    first = pick_pool(route)
    for pool in [first, *fit, *pools] if first is not None and first.fit else [*fit, *pools]:
        chosen = choose(pool, tried)
        if chosen is not None:
            return chosen
    return None

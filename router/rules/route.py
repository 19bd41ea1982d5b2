"""Routes, their pools of backends, and the choice of a backend for one request. Pure.

A backend is chosen by the power of two choices: of two random ones, the one with fewer requests in flight.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import permutations
from random import random
from typing import Any, Final

from router.rules.gate import Gate
from router.rules.own_answers import OwnAnswer
from router.rules.policy import Policy

MAX_PAIRED_BACKENDS: Final = 8
"""A pool of at most this size lists all pairs in advance, so that one random number picks a pair."""


class Backend:
    """One instance that answers requests. `inflight` counts the requests given to it that are not over."""

    __slots__ = (
        "address",
        "app",
        "draining",
        "dyno",
        "ejected_until",
        "errors",
        "failures",
        "id",
        "idle",
        "inflight",
        "port",
        "requests",
        "sick",
        "weight",
    )

    def __init__(self, id: str, address: str, port: int) -> None:
        self.id = id
        self.address = address
        self.port = port
        self.weight = 1
        self.dyno = b""
        self.app = ""
        """The app whose route leads here; for counters."""
        self.draining = False
        self.inflight = 0
        self.requests = 0
        self.failures = 0
        """Connections that were refused or ended without an answer."""
        self.errors = 0
        """Answers of 500 and above, the router's own included."""
        self.ejected_until = 0.0
        """Monotonic seconds; 0.0 while it takes requests."""
        self.sick = False
        """Its health checks fail."""
        self.idle: list[Any] = []
        """Open connections without a request (`back.pooled.PooledConnection`), the newest last. The type is Any because
        that class is of a higher floor, and a cast would cost a call for each request."""

    def fit(self, now: float) -> bool:
        """Whether it should get requests."""
        return not (self.draining or self.sick or self.ejected_until > now)

    def __repr__(self) -> str:
        return f"Backend({self.id} {self.address}:{self.port} inflight={self.inflight})"


class Pool:
    """The backends of a route. `ready` may be chosen now; `fit` is whether these are fit; `pairs` lists every ordered
    pair of them, while they are few."""

    __slots__ = ("backends", "fit", "name", "pairs", "ready")

    def __init__(self, name: str, backends: list[Backend]) -> None:
        self.name = name
        self.backends = backends
        self.ready: list[Backend] = []
        self.pairs: list[tuple[Backend, Backend]] = []
        self.fit = False
        self.refresh(0.0)

    def refresh(self, now: float) -> None:
        """Compute `ready`: the fit backends; if there are none, the sick ones, then the ejected ones."""
        serving = [b for b in self.backends if not b.draining]
        not_ejected = [b for b in serving if b.ejected_until <= now]
        well = [b for b in not_ejected if not b.sick]
        self.fit = bool(well)
        self.ready = well or not_ejected or serving
        self.pairs = list(permutations(self.ready, 2)) if len(self.ready) <= MAX_PAIRED_BACKENDS else []


@dataclass(slots=True)
class Route:
    """Where the requests for one path prefix go. `own_answer` is sent when there is no pool. All hosts whose routes are
    equal share one object: with thousands of hosts, each request would else wait for another part of memory."""

    path: bytes
    app: str
    log: str
    pool: Pool | None
    own_answer: OwnAnswer
    policy: Policy | None = None
    needs_admission: bool = False
    """The policy must be applied before a backend gets a request."""
    shares: tuple[tuple[Pool, int], ...] = ()
    """Instead of one pool: several, each with its share of the requests."""
    needs_pick: bool = False
    """The pool alone does not decide: there are shares, or clients stay at their backend."""
    gate: Gate | None = None
    """The app's gate, where requests may have to wait; None if the policy never makes them wait."""

    def pools(self) -> list[Pool]:
        """Every pool that its requests may go to."""
        return [pool for pool, _ in self.shares] or ([self.pool] if self.pool is not None else [])


def pick_pool(route: Route, rand: Callable[[], float] = random) -> Pool | None:
    """The pool of a route; with shares, one at random, weighted by its share."""
    point = rand() * sum(share for _, share in route.shares)
    for pool, share in route.shares:
        point -= share
        if point < 0:
            return pool
    return route.pool


def choose(pool: Pool, tried: Collection[Backend] = (), rand: Callable[[], float] = random) -> Backend | None:
    """A ready backend that is not in `tried`, or None. `weight` divides the requests in flight."""
    pairs = pool.pairs
    if pairs and not tried:
        one, other = pairs[int(rand() * len(pairs))]
    else:
        ready = [b for b in pool.ready if b not in tried] if tried else pool.ready
        count = len(ready)
        if count < 2:
            return ready[0] if count else None
        first = int(rand() * count)
        one, other = ready[first], ready[(first + 1 + int(rand() * (count - 1))) % count]
    if one.inflight * other.weight <= other.inflight * one.weight:
        return one
    return other

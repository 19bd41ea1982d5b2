"""The route table: hosts and path prefixes to pools of backends. Pure; `document` makes one.

Backends are kept by id across tables, so that their requests in flight stay counted while routes change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import permutations
from random import random
from typing import Any, Final

from router.rules.failures import Failure
from router.rules.paths import by_path
from router.rules.policy import Policy

FEW_BACKENDS: Final = 8


class Backend:
    """One instance that answers requests. `inflight` counts requests that were given to it and are not over."""

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
        """Of the route that leads here, for counters."""
        self.draining = False
        self.inflight = 0
        self.requests = 0
        self.failures = 0
        """Connections that were refused or ended without an answer."""
        self.errors = 0
        """Answers of 500 and above, the router's own in its place among them."""
        self.ejected_until = 0.0
        """Monotonic seconds; 0.0 when it takes requests."""
        self.sick = False
        """Its health checks fail."""
        self.idle: list[Any] = []
        """Open connections without a request, newest last; the connections' owner is the worker's loop."""

    def fit(self, now: float) -> bool:
        """Whether requests should go here."""
        return not (self.draining or self.sick or self.ejected_until > now)

    def __repr__(self) -> str:
        return f"Backend({self.id} {self.address}:{self.port} inflight={self.inflight})"


class Pool:
    """The backends of a route. `ready` are those that may be chosen now, `fit` whether they ought to be; `pairs` holds
    every two of the ready ones in either order, while these are few."""

    __slots__ = ("backends", "fit", "name", "pairs", "ready")

    def __init__(self, name: str, backends: list[Backend]) -> None:
        self.name = name
        self.backends = backends
        self.ready: list[Backend] = []
        self.pairs: list[tuple[Backend, Backend]] = []
        self.fit = False
        self.refresh(0.0)

    def refresh(self, now: float) -> None:
        """Compute `ready` anew: those that are fit; when none is, better one that does not sit out, or any, than none."""
        serving = [b for b in self.backends if not b.draining]
        sitting_in = [b for b in serving if b.ejected_until <= now]
        well = [b for b in sitting_in if not b.sick]
        self.fit = bool(well)
        self.ready = well or sitting_in or serving
        self.pairs = list(permutations(self.ready, 2)) if len(self.ready) <= FEW_BACKENDS else []


@dataclass(slots=True)
class Route:
    """Where the requests for one host and path prefix go. `failure` answers when there is no pool."""

    host: bytes
    path: bytes
    app: str
    log: str
    pool: Pool | None
    failure: Failure
    policy: Policy | None = None
    judged: bool = False
    """Whether the policy is to be asked before a backend gets a request."""
    shares: tuple[tuple[Pool, int], ...] = ()
    """Instead of one pool: several, each with its share of the requests."""
    special: bool | None = None
    """Set when a backend is not simply chosen from the pool: shares, or clients that stay at theirs."""
    gate: Any = None
    """Where requests may have to wait, set by the worker; None when the policy never makes them."""

    def pools(self) -> list[Pool]:
        """Every pool that its requests may go to."""
        return [pool for pool, _ in self.shares] or ([self.pool] if self.pool is not None else [])


@dataclass
class RouteTable:
    generation: int = 0
    hosts: dict[bytes, Route | tuple[Route, ...]] = field(default_factory=dict)
    """Exact names; `*.example.com` under `.example.com`; any host under `*`. Several routes: longest path first."""
    any: Route | tuple[Route, ...] | None = None
    has_wildcards: bool = False
    pools: dict[str, Pool] = field(default_factory=dict)
    backends: dict[str, Backend] = field(default_factory=dict)
    policies: dict[str, Policy | None] = field(default_factory=dict)
    """What the flags of its routes mean, by their text."""
    certificates: dict[str, str] = field(default_factory=dict)
    """By lower-case name, which may begin with `*.`: a file's name."""
    https_port: int = 0
    """The port that redirects to HTTPS name; 0: the usual one."""
    checked: dict[str, tuple[Route, Pool]] = field(default_factory=dict)
    """Pools whose backends are checked, by name, with the route that asks for it."""

    def certificate(self, name: str) -> str | None:
        """The file with the certificate for a lower-case name: of that name, else of a wildcard for its first label."""
        return self.certificates.get(name) or self.certificates.get("*." + name.partition(".")[2])

    def lookup(self, host: bytes, target: bytes) -> Route | None:
        """The route for a lower-case host name without port and a request target."""
        entry = self.hosts.get(host)
        if entry is None:
            entry = self._wildcard(host) if self.has_wildcards else self.any
            if entry is None:
                return None
        if type(entry) is Route:
            return entry
        return by_path(entry, target)  # type: ignore[arg-type]

    def entry(self, host: bytes) -> Route | tuple[Route, ...]:
        """All routes for a host, the first that fits counts."""
        return self.hosts.get(host) or (self._wildcard(host) if self.has_wildcards else self.any) or ()

    def _wildcard(self, host: bytes) -> Route | tuple[Route, ...] | None:
        at = host.find(b".")
        while at >= 0:
            entry = self.hosts.get(host[at:])
            if entry is not None:
                return entry
            at = host.find(b".", at + 1)
        return self.any

    def routes(self) -> Iterator[Route]:
        for entry in self.hosts.values():
            if isinstance(entry, Route):
                yield entry
            else:
                yield from entry


def pick_pool(route: Route, rand: Callable[[], float] = random) -> Pool | None:
    """The pool of a route: with shares one at random, as often as its share says."""
    point = rand() * sum(share for _, share in route.shares)
    for pool, share in route.shares:
        point -= share
        if point < 0:
            return pool
    return route.pool

"""The route table: hosts and path prefixes to pools of backends. Whole, replaced at once. Pure.

Backends are kept by id across tables, so that their requests in flight stay counted while routes change.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from itertools import permutations
from random import random
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from router.errors import BY_CODE, FAILURES, Failure
from router.policy import Policy
from router.policy import parse as read_policy

FEW_BACKENDS: Final = 8
_FILE = re.compile(r"[0-9A-Za-z_-]{1,128}\.pem")

_TOKEN = re.compile(r"[0-9A-Za-z_.-]{1,512}")
_ODD = re.compile(rb"[%#;\\]|//|/\.").search
ACME_PATH: Final = "/.well-known/acme-challenge/"


class TableError(ValueError):
    """The document is not a route table."""


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
    flags: dict[str, Any]
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
    document: dict[str, Any] = field(default_factory=dict)
    policies: dict[str, Policy | None] = field(default_factory=dict)
    """What the flags of its routes mean, by their text."""
    certificates: dict[str, str] = field(default_factory=dict)
    """By lower-case name, which may begin with `*.`: a file's name."""
    https_port: int = 0
    """The port that redirects to HTTPS name; 0: the usual one."""

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
        return _by_path(entry, target)  # type: ignore[arg-type]

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


def _by_path(routes: tuple[Route, ...], target: bytes) -> Route | None:
    """The first route that fits. None when an application may read the path as one of another route: `//admin` or
    `/%61dmin` must not get round what is asked of those who want `/admin`."""
    path = target.partition(b"?")[0]
    route = _first(routes, path, plainly=False)
    if _ODD(path) is not None:
        for dots in (False, True):
            if _first(routes, _plain(path, dots=dots), plainly=True) is not route:
                return None
    return route


def _first(routes: tuple[Route, ...], path: bytes, *, plainly: bool) -> Route | None:
    for route in routes:
        prefix = _plain(route.path) if plainly else route.path
        if prefix == b"/" or path == prefix or path.startswith(prefix + b"/"):
            return route
    return None


def _plain(path: bytes, *, dots: bool = True) -> bytes:
    """The path as a generous application reads it: decoded, without parameters and doubled slashes, perhaps also
    where its dots lead."""
    kept: list[bytes] = []
    for segment in unquote_to_bytes(path.partition(b"#")[0]).replace(b"\\", b"/").split(b"/"):
        name = segment.partition(b";")[0]
        if dots and name == b"..":
            del kept[-1:]
        elif name and not (dots and name == b"."):
            kept.append(name)
    return b"/" + b"/".join(kept)


def pick_pool(route: Route, rand: Callable[[], float] = random) -> Pool | None:
    """The pool of a route: with shares one at random, as often as its share says."""
    point = rand() * sum(share for _, share in route.shares)
    for pool, share in route.shares:
        point -= share
        if point < 0:
            return pool
    return route.pool


def read_generation(document: Any) -> int:
    """The generation of a document. Raises TableError."""
    if not isinstance(document, dict) or not isinstance(document.get("generation"), int):
        raise TableError("a table is an object with a generation")
    return int(document["generation"])


def parse(document: Any, known: dict[str, Backend], before: RouteTable | None = None) -> RouteTable:
    """The table of a document. Backends of `known` are used again by id: call it only when the table will be used.
    Of routes whose flags are as in the table `before` these are not read again, which can take long.

    Raises TableError, before any backend of `known` has been changed.
    """
    table = RouteTable(generation=read_generation(document), document=document)
    described = _read_backends(document.get("pools", {}))
    policies = _Policies(before.policies if before is not None else {})
    routes = [
        _read_route(entry, described, policies) for entry in _list(document.get("routes", []), "routes")
    ]
    certificates = _read_certificates(document.get("certificates", []))
    challenges = list(_read_challenges(document.get("challenges", {})))
    https_port = document.get("https_port") or 0
    if not isinstance(https_port, int) or not 0 <= https_port < 65536:
        raise TableError("https_port is no port")
    for name, entries in described.items():
        members = []
        for entry in entries:
            backend = table.backends.get(entry["id"]) or _update(entry, known)
            table.backends[backend.id] = backend
            members.append(backend)
        table.pools[name] = Pool(name, members)
    grouped: dict[bytes, list[Route]] = {}
    for entry, route in routes:
        route.pool = table.pools[entry["pool"]] if entry.get("pool") is not None else None
        route.shares = tuple((table.pools[name], share) for name, share in entry.get("shares", {}).items())
        for pool in route.pools():
            for backend in pool.backends:
                backend.app = route.app
        if route.shares or (route.policy is not None and route.policy.sticky):
            route.special = True
        key = route.host[1:] if route.host.startswith(b"*.") else route.host
        table.has_wildcards |= key.startswith(b".")
        grouped.setdefault(key, []).append(route)
    for key, group in grouped.items():
        group.sort(key=lambda r: len(r.path), reverse=True)
        table.hosts[key] = group[0] if len(group) == 1 and group[0].path == b"/" else tuple(group)
    table.any = table.hosts.get(b"*")
    for answer in challenges:
        others = table.entry(answer.host)
        table.hosts[answer.host] = (answer, *(others if isinstance(others, tuple) else (others,)))
    table.policies = policies.read
    table.certificates = certificates
    table.https_port = https_port
    return table


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise TableError(f"{what} is not a list")
    return value


def _read_backends(pools: Any) -> dict[str, list[dict[str, Any]]]:
    if not isinstance(pools, dict):
        raise TableError("pools is not an object")
    for name, entries in pools.items():
        for entry in _list(entries, f"pool {name}"):
            if not isinstance(entry, dict):
                raise TableError(f"pool {name}: a backend is not an object")
            wrong = [key for key in ("id", "address") if not isinstance(entry.get(key), str)]
            port = entry.get("port")
            if wrong or not isinstance(port, int) or not 0 < port < 65536:
                raise TableError(f"pool {name}: a backend needs id, address and port")
            try:
                ip_address(entry["address"])
            except ValueError as error:
                raise TableError(f"pool {name}: {error}") from error
    return dict(pools)


def _read_certificates(entries: Any) -> dict[str, str]:
    """Name to file. Raises TableError."""
    files: dict[str, str] = {}
    for entry in _list(entries, "certificates"):
        if not isinstance(entry, dict) or not isinstance(entry.get("file"), str):
            raise TableError("a certificate is an object with names and a file")
        if _FILE.fullmatch(entry["file"]) is None:
            raise TableError(f"certificates: {entry['file']!r} is no name for a file")
        for name in _list(entry.get("names"), "names of a certificate"):
            files[str(name).lower()] = entry["file"]
    return files


def _read_challenges(challenges: Any) -> Iterator[Route]:
    """What answers an ACME server, before any other route of its host. Raises TableError."""
    if not isinstance(challenges, dict):
        raise TableError("challenges is not an object")
    for host, tokens in challenges.items():
        for token, text in tokens.items() if isinstance(tokens, dict) else [("", "")]:
            if _TOKEN.fullmatch(token) is None or not isinstance(text, str) or not _TOKEN.fullmatch(text):
                raise TableError(f"challenges: {host}: no token and no key authorization")
            name, path = str(host).lower().encode("ascii", "replace"), f"{ACME_PATH}{token}".encode()
            policy = Policy(challenge=text.encode())
            yield Route(name, path, "", "_unknown", None, FAILURES["no-web"], {}, policy, judged=True)


def _update(entry: dict[str, Any], known: dict[str, Backend]) -> Backend:
    """The backend of this id with what the table now says of it; another address under an old id is a new one."""
    backend = known.get(entry["id"])
    if backend is None or (backend.address, backend.port) != (entry["address"], entry["port"]):
        backend = Backend(entry["id"], entry["address"], entry["port"])
    backend.weight = max(1, int(entry.get("weight", 1)))
    backend.draining = bool(entry.get("draining", False))
    backend.dyno = str(entry.get("dyno", "")).encode("ascii", "replace")
    return backend


class _Policies:
    """Reads each set of flags once: the domains of an app have mostly the same."""

    def __init__(self, before: dict[str, Policy | None]) -> None:
        self._before = before
        self.read: dict[str, Policy | None] = {}

    def of(self, flags: dict[str, Any]) -> Policy | None:
        """The policy of these flags. Raises ValueError."""
        text = repr(flags)
        if text not in self.read:
            self.read[text] = self._before[text] if text in self._before else read_policy(flags)
        return self.read[text]


def _read_route(entry: Any, pools: dict[str, Any], policies: _Policies) -> tuple[dict[str, Any], Route]:
    if not isinstance(entry, dict) or not isinstance(entry.get("host"), str):
        raise TableError("a route is an object with a host")
    host, path, app = entry["host"].lower(), entry.get("path", "/"), str(entry.get("app", ""))
    if not isinstance(path, str) or not path.startswith("/"):
        raise TableError(f"route {host}: the path does not begin with a slash")
    if entry.get("pool") is not None and entry["pool"] not in pools:
        raise TableError(f"route {host}: there is no pool {entry['pool']}")
    shares = entry.get("shares", {})
    if not isinstance(shares, dict) or not all(isinstance(n, int) and n >= 0 for n in shares.values()):
        raise TableError(f"route {host}: shares is no object of numbers")
    if unknown := shares.keys() - pools.keys():
        raise TableError(f"route {host}: there is no pool {min(unknown)}")
    flags = entry.get("flags", {})
    if not isinstance(flags, dict):
        raise TableError(f"route {host}: flags is not an object")
    failure = BY_CODE.get(flags.get("error", ""), FAILURES["no-web"])
    log = str(entry.get("log") or app or "_unknown")
    if "/" in log or log.startswith("."):
        raise TableError(f"route {host}: {log!r} is no name for a log")
    try:
        policy = policies.of(flags)
    except ValueError as error:
        raise TableError(f"route {host}: {error}") from error
    encoded = path.rstrip("/").encode("utf-8", "surrogateescape") or b"/"
    return entry, Route(
        host.encode("idna" if not host.isascii() else "ascii"),
        encoded,
        app,
        log,
        None,
        failure,
        flags,
        policy,
        judged=policy is not None and not policy.quiet,
    )

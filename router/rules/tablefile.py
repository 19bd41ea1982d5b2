"""Reads a document (JSON) into a RouteTable. It works in pieces, and changes nothing in force until all of it is
valid."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Final

from router.rules.gate import Gate
from router.rules.own_answers import ANSWERS, BY_CODE
from router.rules.pieces import Pieces, at_once
from router.rules.policy import Policy
from router.rules.policy import parse as read_policy
from router.rules.route import Backend, Pool, Route
from router.rules.table import RouteTable

ACME_PATH: Final = "/.well-known/acme-challenge/"

_FILE = re.compile(r"[0-9A-Za-z_-]{1,128}\.pem")
_TOKEN = re.compile(r"[0-9A-Za-z_.-]{1,512}")
_LOG = re.compile(r"(?!\.)[^/\x00-\x1f\x7f\ud800-\udfff]{1,200}")
_WORD = re.compile(r"[!-~]{0,200}")
_ID = re.compile(r"[0-9A-Za-z_.:\[\]-]{1,200}")


class TableError(ValueError):
    """The document is not a route table."""


@dataclass(slots=True)
class BackendState:
    """The fields of a backend that a table may change."""

    backend: Backend
    weight: int
    draining: bool
    dyno: bytes
    app: str = ""


@dataclass(slots=True)
class Draft:
    """A table that is valid but not in force. `settle` writes `states` (by backend id) to its backends. `gates` holds
    the gate and the policy of each app whose requests may have to wait."""

    table: RouteTable
    states: dict[str, BackendState] = field(default_factory=dict)
    gates: dict[str, tuple[Gate, Policy]] = field(default_factory=dict)
    apps: set[str] = field(default_factory=set)

    def settle(self, now: float) -> None:
        """Write the backends' new states. It cannot fail."""
        for state in self.states.values():
            backend = state.backend
            backend.weight, backend.draining = state.weight, state.draining
            backend.dyno, backend.app = state.dyno, state.app
        for pool in self.table.pools.values():
            pool.refresh(now)


def parse(document: Any, known: Mapping[str, Backend], before: RouteTable | None = None) -> RouteTable:
    """Read a document at once, with gates of its own. Reuses backends of `known` by id; raises TableError before it
    changes any of them."""
    draft = at_once(read(document, known, lambda app: Gate(), before or RouteTable()))
    draft.settle(0.0)
    return draft.table


def read_generation(document: Any) -> int:
    """The generation of a document. Raises TableError."""
    generation = document.get("generation") if isinstance(document, dict) else None
    if not _is_number(generation):
        raise TableError("a table is an object with a generation")
    return int(generation)  # type: ignore[arg-type]


def read(
    document: Any, known: Mapping[str, Backend], gate_of: Callable[[str], Gate], before: RouteTable
) -> Pieces[Draft]:
    """Read a document. Reuses backends of `known` by id, and the policies of the table `before`: parsing flags can
    take long. `gate_of` gives the gate of an app. Raises TableError."""
    table = RouteTable(generation=read_generation(document))
    draft = Draft(table)
    try:
        yield from _read_pools(document.get("pools", {}), known, draft)
        grouped = yield from _read_routes(document.get("routes", []), gate_of, draft, before)
        table.certificates = yield from _read_certificates(document.get("certificates", []))
        challenges = yield from _read_challenges(document.get("challenges", {}))
    except (TypeError, UnicodeError, OverflowError) as error:
        raise TableError(f"a value that no table has: {error}") from error
    https_port = document.get("https_port") or 0
    if not _is_number(https_port) or not 0 <= https_port < 65536:
        raise TableError("https_port is no port")
    table.https_port = https_port
    for key, group in grouped.items():
        group.sort(key=lambda route: len(route.path), reverse=True)
        table.hosts[key] = group[0] if len(group) == 1 and group[0].path == b"/" else tuple(group)
        yield
    table.any = table.hosts.get(b"*")
    for host, answer in challenges:
        others = table.entry(host)
        table.hosts[host] = (answer, *(others if isinstance(others, tuple) else (others,)))
        yield
    return draft


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise TableError(f"{what} is not a list")
    return value


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TableError(f"{what} is not an object")
    return value


def _read_pools(pools: Any, known: Mapping[str, Backend], draft: Draft) -> Pieces[None]:
    for name, entries in _object(pools, "pools").items():
        members = []
        for entry in _list(entries, f"pool {name}"):
            state = _read_backend(_object(entry, f"pool {name}: a backend"), name, known)
            members.append(draft.states.setdefault(state.backend.id, state).backend)
            yield
        draft.table.pools[name] = Pool(name, members)
        for backend in members:
            draft.table.backends[backend.id] = backend
        yield


def _read_backend(entry: dict[str, Any], pool: str, known: Mapping[str, Backend]) -> BackendState:
    """A known id at another address is a new backend."""
    id, address, port = entry.get("id"), entry.get("address"), entry.get("port")
    if not isinstance(id, str) or not isinstance(address, str) or not _is_number(port):
        raise TableError(f"pool {pool}: a backend needs id, address and port")
    assert isinstance(port, int)
    if not 0 < port < 65536:
        raise TableError(f"pool {pool}: a backend needs id, address and port")
    if _ID.fullmatch(id) is None:
        raise TableError(f"pool {pool}: {id!r} is no id")
    try:
        ip_address(address)
    except ValueError as error:
        raise TableError(f"pool {pool}: {error}") from error
    weight, draining, dyno = entry.get("weight", 1), entry.get("draining", False), entry.get("dyno", "")
    if not _is_number(weight):
        raise TableError(f"pool {pool}: weight {weight!r} is no number")
    if not isinstance(draining, bool):
        raise TableError(f"pool {pool}: draining {draining!r} is neither true nor false")
    if not isinstance(dyno, str) or _WORD.fullmatch(dyno) is None:
        raise TableError(f"pool {pool}: dyno {dyno!r} is no word")
    backend = known.get(id)
    if backend is None or (backend.address, backend.port) != (address, port):
        backend = Backend(id, address, port)
    return BackendState(backend, max(1, weight), draining, dyno.encode())


class _Policies:
    """Parses each distinct set of flags once: the domains of an app usually share one."""

    def __init__(self, before: dict[str, Policy | None]) -> None:
        self._before = before
        self.read: dict[str, Policy | None] = {}

    def of(self, flags: dict[str, Any]) -> Policy | None:
        """The policy of these flags. Raises ValueError."""
        text = repr(flags)
        if text not in self.read:
            json.dumps(
                flags, ensure_ascii=False
            ).encode()  # raises for a lone surrogate, which cannot be sent
            self.read[text] = self._before[text] if text in self._before else read_policy(flags)
        return self.read[text]


def _read_routes(
    entries: Any, gate_of: Callable[[str], Gate], draft: Draft, before: RouteTable
) -> Pieces[dict[bytes, list[Route]]]:
    """The routes by the key of their host. Records gates, health checks and the backends' apps in the draft."""
    table = draft.table
    policies = _Policies(before.policies)
    grouped: dict[bytes, list[Route]] = {}
    owners: dict[str, str] = {}
    distinct: dict[tuple[Any, ...], Route] = {}
    for entry in _list(entries, "routes"):
        host, route = _read_route(entry, table.pools, policies, distinct)
        policy = route.policy
        draft.apps.add(route.app)
        if policy is not None and policy.gated:
            gate = draft.gates[route.app][0] if route.app in draft.gates else gate_of(route.app)
            draft.gates[route.app] = (gate, policy)
            route.gate = gate
        for pool in route.pools():
            owners[pool.name] = route.app
            if policy is not None and policy.health is not None:
                table.checked.setdefault(pool.name, (host, route, pool))
        key = host[1:] if host.startswith(b"*.") else host
        table.has_wildcards |= key.startswith(b".")
        grouped.setdefault(key, []).append(route)
        yield
    for name, app in owners.items():
        for backend in table.pools[name].backends:
            draft.states[backend.id].app = app
        yield
    table.policies = policies.read
    return grouped


def _read_route(
    entry: Any, pools: dict[str, Pool], policies: _Policies, distinct: dict[tuple[Any, ...], Route]
) -> tuple[bytes, Route]:
    """The host and its route: that of an equal entry for another host, if `distinct` has it."""
    if not isinstance(entry, dict) or not isinstance(entry.get("host"), str):
        raise TableError("a route is an object with a host")
    host, path, app = entry["host"].lower(), entry.get("path", "/"), str(entry.get("app", ""))
    if not host.isascii():
        raise TableError(f"route {host}: a host is written as it is asked for, in ASCII (xn--…)")
    if not isinstance(path, str) or not path.startswith("/"):
        raise TableError(f"route {host}: the path does not begin with a slash")
    name, shares = _read_pool_names(entry, host, pools)
    flags = _object(entry.get("flags", {}), f"route {host}: flags")
    log = str(entry.get("log") or app or "_unknown")
    if _LOG.fullmatch(log) is None:
        raise TableError(f"route {host}: {log!r} is no name for a log")
    try:
        policy = policies.of(flags)
    except (ValueError, TypeError, AttributeError) as error:
        raise TableError(f"route {host}: {error}") from error
    code = flags.get("error", "")
    key = (path, app, log, name, tuple(shares.items()), id(policy), code)
    route = distinct.get(key)
    if route is None:
        route = distinct[key] = Route(
            path.rstrip("/").encode("utf-8", "surrogateescape") or b"/",
            sys.intern(app),  # one object in all tables and routes: requests are counted by it
            sys.intern(log),
            pools[name] if name is not None else None,
            BY_CODE.get(code, ANSWERS["no-web"]),
            policy,
            needs_admission=policy is not None and policy.needs_admission,
            shares=tuple((pools[pool], share) for pool, share in shares.items()),
            needs_pick=bool(shares or (policy is not None and policy.sticky)),
        )
    return host.encode(), route


def _read_pool_names(
    entry: dict[str, Any], host: str, pools: dict[str, Pool]
) -> tuple[str | None, dict[str, Any]]:
    """The pool of a route, if it has one, and the share of each of several pools."""
    name, shares = entry.get("pool"), _object(entry.get("shares", {}), f"route {host}: shares")
    for pool in [*shares, *([] if name is None else [name])]:
        if pool not in pools:
            raise TableError(f"route {host}: there is no pool {pool}")
    if not all(_is_number(share) and share >= 0 for share in shares.values()):
        raise TableError(f"route {host}: shares is no object of numbers")
    return name, shares


def _read_certificates(entries: Any) -> Pieces[dict[str, str]]:
    """Lower-case name to file."""
    files: dict[str, str] = {}
    for entry in _list(entries, "certificates"):
        if not isinstance(entry, dict) or not isinstance(entry.get("file"), str):
            raise TableError("a certificate is an object with names and a file")
        if _FILE.fullmatch(entry["file"]) is None:
            raise TableError(f"certificates: {entry['file']!r} is no name for a file")
        for name in _list(entry.get("names"), "names of a certificate"):
            files[str(name).lower()] = entry["file"]
        yield
    return files


def _read_challenges(challenges: Any) -> Pieces[list[tuple[bytes, Route]]]:
    """Host and route of each ACME challenge (RFC 8555 8.3); it comes before the other routes of its host."""
    routes: list[tuple[bytes, Route]] = []
    for host, tokens in _object(challenges, "challenges").items():
        for token, text in _object(tokens, f"challenges: {host}").items():
            if _TOKEN.fullmatch(token) is None or not isinstance(text, str) or not _TOKEN.fullmatch(text):
                raise TableError(f"challenges: {host}: no token and no key authorization")
            name, path = str(host).lower().encode("ascii", "replace"), f"{ACME_PATH}{token}".encode()
            policy = Policy(challenge=text.encode())
            route = Route(path, "", "_unknown", None, ANSWERS["no-web"], policy, needs_admission=True)
            routes.append((name, route))
            yield
    return routes

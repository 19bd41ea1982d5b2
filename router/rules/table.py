"""The route table: host and path to a route. Pure; `tablefile` reads one from a document."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

from router.rules.paths import by_path
from router.rules.policy import Policy
from router.rules.route import Backend, Pool, Route

_NUMBERS = count(1)


@dataclass
class RouteTable:
    generation: int = 0
    number: int = field(default_factory=_NUMBERS.__next__, compare=False)
    """Each table of a worker has its own: what is kept of a lookup is compared with it."""
    hosts: dict[bytes, Route | tuple[Route, ...]] = field(default_factory=dict)
    """Exact names; `*.example.com` under `.example.com`; any host under `*`. Several routes: longest path first."""
    any: Route | tuple[Route, ...] | None = None
    has_wildcards: bool = False
    pools: dict[str, Pool] = field(default_factory=dict)
    backends: dict[str, Backend] = field(default_factory=dict)
    policies: dict[str, Policy | None] = field(default_factory=dict)
    """Parsed flags of routes, by their text: the next table uses them again."""
    certificates: dict[str, str] = field(default_factory=dict)
    """Lower-case name, which may begin with `*.`, to the name of a file."""
    https_port: int = 0
    """The port in redirects to HTTPS; 0: the standard one."""
    checked: dict[str, tuple[bytes, Route, Pool]] = field(default_factory=dict)
    """Pools with health checks by name, each with a route that asks for them, and a host of that route."""

    def certificate(self, name: str) -> str | None:
        """The file with the certificate for a lower-case name: its own, else that of a wildcard for its first label."""
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

    def has_one_route(self, host: bytes) -> bool:
        """Whether every target of a host has the same route."""
        return type(self.entry(host)) is Route

    def entry(self, host: bytes) -> Route | tuple[Route, ...]:
        """All routes for a host; the first one that matches counts."""
        return self.hosts.get(host) or (self._wildcard(host) if self.has_wildcards else self.any) or ()

    def _wildcard(self, host: bytes) -> Route | tuple[Route, ...] | None:
        at = host.find(b".")
        while at >= 0:
            entry = self.hosts.get(host[at:])
            if entry is not None:
                return entry
            at = host.find(b".", at + 1)
        return self.any

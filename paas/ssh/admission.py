"""Limits before login, by source address. Pure; the accept loop performs what is decided here.

A connection first waits (no process, one descriptor) until its version line has arrived, then starts (a process, not
logged in), then is open. Clients of the source with the fewest connections go first. When a stage is full, the oldest
client of the source with the most makes room: a flood from one source does not lock out the others.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from paas.receive.limits import Limits

_ALONE = 3
"""The only client of its source is no flood: it has this many times the minimum age."""

T = TypeVar("T", bound=Hashable)


def source_of(address: str) -> str:
    """One source is an IPv4 address or an IPv6 /64."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False))


@dataclass(frozen=True)
class Client(Generic[T]):
    """A connection at some stage; `since` is monotonic seconds."""

    key: T
    source: str
    since: float


class Stage(Generic[T]):
    """At most `total` connections, at most `per_source` of one source, each for at most `max_wait_s`."""

    def __init__(self, total: int, per_source: int, max_wait_s: float) -> None:
        self._total = total
        self._per_source = per_source
        self._max_wait_s = max_wait_s
        self._clients: dict[T, Client[T]] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def __contains__(self, key: object) -> bool:
        return key in self._clients

    def room_for(self, source: str) -> bool:
        """True if this source has fewer clients here than one source may have."""
        return self._count()[source] < self._per_source

    def is_full(self) -> bool:
        return len(self._clients) >= self._total

    def add(self, key: T, source: str, now: float) -> None:
        self._clients[key] = Client(key, source, now)

    def remove(self, key: T) -> str | None:
        """Remove a client; its source, None if it is not here."""
        client = self._clients.pop(key, None)
        return client.source if client else None

    def overdue(self, now: float) -> list[T]:
        return [client.key for client in self._clients.values() if now - client.since > self._max_wait_s]

    def next_due(self) -> float | None:
        """When the oldest client becomes overdue, in monotonic seconds."""
        since = min((client.since for client in self._clients.values()), default=None)
        return None if since is None else since + self._max_wait_s

    def to_evict(self, now: float, min_age_s: float = 0, others: Stage[int] | None = None) -> T | None:
        """The client that makes room: the oldest of the source with the most, here and in `others`.

        It is at least `min_age_s` old, the only client of a source three times as old.
        """
        count = self._together(others)
        old = [
            client
            for client in self._clients.values()
            if now - client.since >= min_age_s * (1 if count[client.source] > 1 else _ALONE)
        ]
        return max(old, key=lambda client: count[client.source]).key if old else None

    def next_of(self, candidates: Iterable[tuple[T, str]], others: Stage[int] | None = None) -> T | None:
        """The next of (key, source), in the order of arrival, to come in: of the source with the fewest here and in `others`."""
        here, together = self._count(), self._together(others)
        admissible = [each for each in candidates if here[each[1]] < self._per_source]
        return min(admissible, key=lambda each: together[each[1]])[0] if admissible else None

    def _together(self, others: Stage[int] | None) -> Counter[str]:
        return self._count() + (others._count() if others else Counter())

    def _count(self) -> Counter[str]:
        return Counter(client.source for client in self._clients.values())


def waiting_stage(limits: Limits) -> Stage[int]:
    """Connections without a process, by descriptor."""
    return Stage(limits.waiting, limits.waiting_per_source, limits.greeting_s)


def starting_stage(limits: Limits) -> Stage[int]:
    """Connections that have not logged in, by process id."""
    return Stage(limits.starting, limits.starting_per_source, limits.login_s)

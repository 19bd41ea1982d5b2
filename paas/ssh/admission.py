"""Who gets in when many knock: bounds before login, by source. Pure; the accept loop performs what it decides.

A connection first waits (no process, one descriptor) until its version line is here, then starts (a process, not
logged in), then is open. Those of the source that has fewest connections go first; when a stage is full, the oldest of
the source that has most there makes room, so that a flood does not lock out the others.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from paas.receive.limits import Limits

T = TypeVar("T", bound=Hashable)


def source_of(address: str) -> str:
    """What counts as one source: an IPv4 address, an IPv6 /64."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False))


@dataclass(frozen=True)
class Guest(Generic[T]):
    """A connection at some stage; `since` is monotonic seconds."""

    key: T
    source: str
    since: float


class Stage(Generic[T]):
    """At most `total` connections, at most `per_source` of one source, each for at most `patience_s`."""

    def __init__(self, total: int, per_source: int, patience_s: float) -> None:
        self._total = total
        self._per_source = per_source
        self._patience_s = patience_s
        self._guests: dict[T, Guest[T]] = {}

    def __len__(self) -> int:
        return len(self._guests)

    def __contains__(self, key: object) -> bool:
        return key in self._guests

    def room_for(self, source: str) -> bool:
        """Whether this source may have one more here at all."""
        return self._count()[source] < self._per_source

    def is_full(self) -> bool:
        return len(self._guests) >= self._total

    def add(self, key: T, source: str, now: float) -> None:
        self._guests[key] = Guest(key, source, now)

    def remove(self, key: T) -> str | None:
        """Forget one; its source."""
        guest = self._guests.pop(key, None)
        return guest.source if guest else None

    def overdue(self, now: float) -> list[T]:
        return [guest.key for guest in self._guests.values() if now - guest.since > self._patience_s]

    def next_due(self) -> float | None:
        """When the first becomes overdue, in monotonic seconds."""
        return min((guest.since for guest in self._guests.values()), default=None)

    def to_leave(self, now: float, min_age_s: float = 0, crowd: Stage[int] | None = None) -> T | None:
        """Who makes room: the oldest of the source that has most, here and in `crowd`.

        Nobody younger than `min_age_s`; one that is alone of its source has three times as long.
        """
        count = self._together(crowd)
        old = [
            guest
            for guest in self._guests.values()
            if now - guest.since >= min_age_s * (1 if count[guest.source] > 1 else 3)
        ]
        return max(old, key=lambda guest: count[guest.source]).key if old else None

    def next_of(self, candidates: Iterable[tuple[T, str]], crowd: Stage[int] | None = None) -> T | None:
        """Who of (key, source), in the order of arrival, comes in next: of the source that has fewest here.

        With `crowd`, fewest in both.
        """
        count, all_told = self._count(), self._together(crowd)
        welcome = [each for each in candidates if count[each[1]] < self._per_source]
        return min(welcome, key=lambda each: all_told[each[1]])[0] if welcome else None

    def _together(self, crowd: Stage[int] | None) -> Counter[str]:
        return self._count() + (crowd._count() if crowd else Counter())

    def _count(self) -> Counter[str]:
        return Counter(guest.source for guest in self._guests.values())


def waiting_stage(limits: Limits) -> Stage[int]:
    """Keys are descriptors."""
    return Stage(limits.waiting, limits.waiting_per_source, limits.greeting_s)


def starting_stage(limits: Limits) -> Stage[int]:
    """Keys are process ids."""
    return Stage(limits.starting, limits.starting_per_source, limits.login_s)

"""Which backend takes a request: two random ones are looked at, the one with fewer requests in flight wins. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection
from random import random

from router.rules.table import Backend, Pool


def choose(pool: Pool, tried: Collection[Backend] = (), rand: Callable[[], float] = random) -> Backend | None:
    """A ready backend that is not in `tried`, or None. In flight counts are weighed by `weight`."""
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

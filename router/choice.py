"""Which backend takes a request: two random ones are looked at, the one with fewer requests in flight wins. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import permutations
from random import random
from typing import Final

from router.table import Backend

_PAIRS: Final = [list(permutations(range(count), 2)) for count in range(9)]
"""All pairs of different indexes below so many."""


def choose(
    ready: list[Backend], tried: Collection[Backend] = (), rand: Callable[[], float] = random
) -> Backend | None:
    """A backend of `ready` that is not in `tried`, or None. In flight counts are weighed by `weight`."""
    if tried:
        ready = [b for b in ready if b not in tried]
    count = len(ready)
    if count < 2:
        return ready[0] if count else None
    if count < 9:
        pairs = _PAIRS[count]
        first, second = pairs[int(rand() * len(pairs))]
    else:
        first = int(rand() * count)
        second = (first + 1 + int(rand() * (count - 1))) % count
    one, other = ready[first], ready[second]
    if one.inflight * other.weight <= other.inflight * one.weight:
        return one
    return other

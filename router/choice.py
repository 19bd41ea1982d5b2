"""Which backend takes a request: two random ones are looked at, the one with fewer requests in flight wins. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection
from random import random

from router.table import Backend


def choose(
    ready: list[Backend], tried: Collection[Backend] = (), rand: Callable[[], float] = random
) -> Backend | None:
    """A backend of `ready` that is not in `tried`, or None. In flight counts are weighed by `weight`."""
    if tried:
        ready = [b for b in ready if b not in tried]
    count = len(ready)
    if count < 2:
        return ready[0] if count else None
    point = rand() * count
    first = int(point)
    second = first + 1 + int((point - first) * (count - 1))
    one, other = ready[first], ready[second if second < count else second - count]
    if one.inflight * other.weight <= other.inflight * one.weight:
        return one
    return other

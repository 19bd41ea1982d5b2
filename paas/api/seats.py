"""Places for requests: each holds a thread of the api, so no user may have very many, and nobody all.

One count for every request of a user, by whichever way it came: what lasts, what is slow to send or to read, and the
rest. A part of each pool is kept for those who have few under way.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from paas.api.access import Principal
from paas.nouns.errors import Unavailable

LOCAL_THREADS = 96
REMOTE_THREADS = 64
ROOT_THREADS = 48
RESERVE = 16
"""Threads of a pool for those who have fewer than FEW requests under way."""

EACH = 24
"""Requests of one user at once; LASTING of them may be such that last."""
LASTING = 20
FEW = 2
ROOTS = 40
"""What may last for root, who has threads of his own."""

_PATIENCE_S = 2.0


@dataclass(frozen=True)
class Bounds:
    """`most`: how many requests of users each pool holds before only those with few get a place."""

    most: Mapping[str, int]
    each: int = EACH
    lasting: int = LASTING
    few: int = FEW
    patience_s: float = _PATIENCE_S


POOLS = {"token": REMOTE_THREADS - RESERVE, "git": LOCAL_THREADS - RESERVE}
"""By the way of a principal: the threads behind the network, and behind the git server."""


class Seats:
    """Who has how many requests under way. Root and the git server's own questions are bound in what lasts alone."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._taken: Counter[str] = Counter()
        self._pools: Counter[str] = Counter()
        """Requests that have a place or wait for one."""
        self._lasting: Counter[str] = Counter()
        self._changed = threading.Condition()

    def take(self, who: Principal) -> Callable[[], None]:
        """A place for a request, after a moment if need be; call what this gives to leave it. Raises Unavailable."""
        if who.user is None:
            return lambda: None
        bounds, name = self._bounds, who.name
        with self._changed:
            crowded = self._pools[who.via] >= bounds.most[who.via]
            if self._taken[name] >= (bounds.few if crowded else bounds.each):
                if crowded:
                    raise Unavailable("The platform is busy with others.", "Try again in a moment.")
                self._wait(who)
            self._taken[name] += 1
            self._pools[who.via] += 1
        return _once(lambda: self._leave(who))

    def stay(self, who: Principal) -> Callable[[], None]:
        """Let a request that has its place last; call what this gives at its end. Raises Unavailable."""
        name, most = who.name, ROOTS if who.user is None else self._bounds.lasting
        with self._changed:
            if self._lasting[name] >= most:
                raise _too_many(most)
            self._lasting[name] += 1
        return _once(lambda: self._end(name))

    def _wait(self, who: Principal) -> None:
        self._pools[who.via] += 1
        try:
            below = lambda: self._taken[who.name] < self._bounds.each  # noqa: E731
            if not self._changed.wait_for(below, self._bounds.patience_s):
                raise _too_many(self._bounds.each)
        finally:
            self._pools[who.via] -= 1

    def _leave(self, who: Principal) -> None:
        with self._changed:
            self._taken[who.name] -= 1
            self._pools[who.via] -= 1
            self._changed.notify_all()

    def _end(self, name: str) -> None:
        with self._changed:
            self._lasting[name] -= 1


places = Seats(Bounds(POOLS))
"""Those of this process, which is the only one of the api."""


def _too_many(most: int) -> Unavailable:
    return Unavailable(f"{most} requests of yours are under way already.", "Wait for one of them, or end it.")


def _once(action: Callable[[], None]) -> Callable[[], None]:
    done = threading.Lock()
    return lambda: action() if done.acquire(blocking=False) else None

"""Limit the requests that a user has at once: each holds a thread of the api, and no user may occupy them all.

There is one count per user over the network and the git server together. A part of each pool of threads is reserved for
users with few requests.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from paas.api.access import Principal
from paas.daemon.turns import Turns
from paas.nouns.errors import Unavailable

LOCAL_THREADS = 96
HOOKS, OF_AN_OWNER = 8, 4
"""Deliveries at once, each of which anybody may begin and send slowly: in all but for owners that have none, and to one
owner's hooks."""
HOOK_THREADS = 2 * HOOKS
REMOTE_THREADS = 64 + HOOK_THREADS
ROOT_THREADS = 48
RESERVE = 16
"""Threads of each pool that only users with fewer than FEW requests get."""

EACH = 24
"""Requests of one user at once; at most LASTING of them are streams or attached runs."""
LASTING = 20
FEW = 2
ROOTS = 40
"""Lasting requests of root, which has a pool of its own."""

_WAIT_S = 2.0


@dataclass(frozen=True)
class Bounds:
    """`most`: requests per pool; above that, only users with fewer than `few` may begin one more."""

    most: Mapping[str, int]
    each: int = EACH
    lasting: int = LASTING
    few: int = FEW
    wait_s: float = _WAIT_S


POOLS = {"token": REMOTE_THREADS - HOOK_THREADS - RESERVE, "git": LOCAL_THREADS - RESERVE}
"""`Principal.via` → threads of its pool that are open to every user."""


class RequestLimiter:
    """Counts the requests of each user. For root and the git server itself only lasting ones are bounded."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._under_way: Counter[str] = Counter()
        self._pools: Counter[str] = Counter()
        """Requests per pool, the waiting ones included."""
        self._lasting: Counter[str] = Counter()
        self._deliveries = Turns(HOOKS, OF_AN_OWNER, "Too many deliveries are under way")
        self._changed = threading.Condition()

    def acquire(self, who: Principal) -> Callable[[], None]:
        """Count a request, after a moment if the user has too many; call the result at its end. Raises Unavailable,
        and TooMany for a delivery, whose forge does not wait."""
        if who.via == "hook":
            self._deliveries.take(who.name)
            return _once(lambda: self._deliveries.leave(who.name))
        if who.user is None:
            return lambda: None
        bounds, name = self._bounds, who.name
        with self._changed:
            crowded = self._pools[who.via] >= bounds.most[who.via]
            if self._under_way[name] >= (bounds.few if crowded else bounds.each):
                if crowded:
                    raise Unavailable("The platform is busy with others.", "Try again in a moment.")
                self._await_room(who)
            self._under_way[name] += 1
            self._pools[who.via] += 1
        return _once(lambda: self._leave(who))

    def acquire_lasting(self, who: Principal) -> Callable[[], None]:
        """Count a request as lasting; call the result at its end. Raises Unavailable."""
        name, most = who.name, ROOTS if who.user is None else self._bounds.lasting
        with self._changed:
            if self._lasting[name] >= most:
                raise _too_many(most)
            self._lasting[name] += 1
        return _once(lambda: self._leave_lasting(name))

    def _await_room(self, who: Principal) -> None:
        self._pools[who.via] += 1
        try:
            below = lambda: self._under_way[who.name] < self._bounds.each  # noqa: E731
            if not self._changed.wait_for(below, self._bounds.wait_s):
                raise _too_many(self._bounds.each)
        finally:
            self._pools[who.via] -= 1

    def _leave(self, who: Principal) -> None:
        with self._changed:
            self._under_way[who.name] -= 1
            if not self._under_way[who.name]:
                del self._under_way[who.name]
            self._pools[who.via] -= 1
            self._changed.notify_all()

    def _leave_lasting(self, name: str) -> None:
        with self._changed:
            self._lasting[name] -= 1


limiter = RequestLimiter(Bounds(POOLS))
"""The api is one process, so one limiter counts everything."""


def _too_many(most: int) -> Unavailable:
    return Unavailable(f"{most} requests of yours are under way already.", "Wait for one of them, or end it.")


def _once(action: Callable[[], None]) -> Callable[[], None]:
    done = threading.Lock()
    return lambda: action() if done.acquire(blocking=False) else None

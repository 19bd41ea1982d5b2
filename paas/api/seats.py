"""Places for requests that last: each holds a thread, so nobody may have them all."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from paas.api.access import Principal
from paas.errors import Unavailable


class Seats:
    """At most `most` requests at once, and `each` of one user; root is bound by the former alone."""

    def __init__(self, what: str, most: int, each: int) -> None:
        self._what = what
        self._most = most
        self._each = each
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, who: Principal) -> Callable[[], None]:
        """Take a seat; call what this gives, once or more often, to leave it. Raises Unavailable."""
        with self._lock:
            if self._taken.total() >= self._most:
                raise Unavailable(f"{self._most} {self._what} are under way already.", "Try again later.")
            if who.user is not None and self._taken[who.name] >= self._each:
                raise Unavailable(
                    f"{self._each} {self._what} of yours are under way already.",
                    "Wait for one of them, or end it.",
                )
            self._taken[who.name] += 1
        left = threading.Event()

        def leave() -> None:
            with self._lock:
                if not left.is_set():
                    left.set()
                    self._taken[who.name] -= 1

        return leave

"""Turns at what a machine can do only so often at once, in shares that are fair to the owners of apps."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from paas.nouns.errors import Cancelled, TooMany

_LOOK_S = 1.0


class Turns:
    """At most `at_once`, and `of_an_owner` of one; an owner who has none may exceed that, up to twice `at_once`.

    So a few owners that take all they may, for as long as they may, leave turns for the others. `what` begins the sentence
    that refuses one more.
    """

    def __init__(self, at_once: int, of_an_owner: int, what: str) -> None:
        self._at_once, self._of_an_owner, self._what = at_once, of_an_owner, what
        self._running: Counter[object] = Counter()
        self._waiting: list[list[object]] = []
        self._changed = threading.Condition()

    def take(self, owner: object, cancelled: Callable[[], bool] | None = None) -> None:
        """Count a turn until `leave`. Raises TooMany when there is none; with `cancelled` it waits, until that is
        true (Cancelled). Who waits longest is the next that there is a turn for."""
        with self._changed:
            if cancelled is not None:
                self._wait(owner, cancelled)
            elif not self._has_turn(owner):
                raise TooMany(f"{self._what} already.", "Try again in a moment.")
            self._running[owner] += 1

    def leave(self, owner: object) -> None:
        with self._changed:
            self._running[owner] -= 1
            if not self._running[owner]:
                del self._running[owner]
            self._changed.notify_all()

    @contextmanager
    def one(self, owner: object, cancelled: Callable[[], bool] | None = None) -> Iterator[None]:
        """`take` for the length of the block."""
        self.take(owner, cancelled)
        try:
            yield
        finally:
            self.leave(owner)

    def _wait(self, owner: object, cancelled: Callable[[], bool]) -> None:
        ticket = [owner]
        self._waiting.append(ticket)
        try:
            while next((one for one in self._waiting if self._has_turn(*one)), None) is not ticket:
                if cancelled():
                    raise Cancelled(
                        "Cancelled while waiting for others; nothing was changed.", cause="cancelled"
                    )
                self._changed.wait(_LOOK_S)
        finally:
            self._waiting = [one for one in self._waiting if one is not ticket]
            self._changed.notify_all()

    def _has_turn(self, owner: object) -> bool:
        has = self._running[owner]
        most = self._at_once if has else 2 * self._at_once
        return has < self._of_an_owner and self._running.total() < most

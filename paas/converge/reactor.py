"""One thread's events: file descriptors and timers, called back one at a time. Times are monotonic seconds."""

from __future__ import annotations

import heapq
import itertools
import selectors
import time
from collections.abc import Callable
from typing import Any

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Timer:
    """A call at a later time; `cancel()` drops it."""

    __slots__ = ("at", "callback")

    def __init__(self, at: float, callback: Callable[[], None]) -> None:
        self.at = at
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Reactor:
    """`watch` and `later` register, `turn` waits once and calls back."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._sequence = itertools.count()

    def watch(self, file: Any, mask: int, callback: Callable[[], None]) -> None:
        """Call back whenever `file` is ready for `mask`; replaces an earlier registration."""
        if file in self._selector.get_map():
            self._selector.modify(file, mask, callback)
        else:
            self._selector.register(file, mask, callback)

    def forget(self, file: Any) -> None:
        if file in self._selector.get_map():
            self._selector.unregister(file)

    def later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(time.monotonic() + delay_s, callback)
        heapq.heappush(self._timers, (timer.at, next(self._sequence), timer))
        return timer

    def turn(self, longest_s: float) -> None:
        """Wait for at most `longest_s` until something is ready or due, then call everything that is."""
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        if self._timers:
            longest_s = min(longest_s, self._timers[0][0] - time.monotonic())
        ready = self._selector.select(max(0.0, longest_s))
        for key, _ in ready:
            if self._selector.get_map().get(key.fd) is key:
                key.data()
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if timer.callback is not None:
                timer.callback()

    def close(self) -> None:
        self._selector.close()

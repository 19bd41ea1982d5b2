"""One thread's events: file descriptors and timers, called back one at a time. Times are monotonic seconds."""

from __future__ import annotations

import heapq
import itertools
import select
import time
from collections.abc import Callable

READ, WRITE = select.EPOLLIN, select.EPOLLOUT


class Timer:
    """A call at a later time; `cancel()` drops it."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Reactor:
    """epoll(7) with callbacks: `watch` and `later` register, `turn` waits once and calls back."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._sequence = itertools.count()

    def watch(self, fd: int, callback: Callable[[int], None], events: int = READ) -> None:
        """Give `callback` the events when `fd` is ready; a second call for the descriptor replaces callback and events."""
        if fd in self._callbacks:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._callbacks[fd] = callback

    def forget(self, fd: int) -> None:
        """Stop watching; call it before the descriptor is closed."""
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(callback)
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._sequence), timer))
        return timer

    def turn(self, longest_s: float | None = None) -> None:
        """Wait until something is ready or due, for at most `longest_s`, then call everything that is."""
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        waits = [] if longest_s is None else [longest_s]
        waits += [at - time.monotonic() for at, _, _ in self._timers[:1]]
        found = self._epoll.poll(max(0.0, min(waits)) if waits else None)
        for fd, events, callback in [(fd, events, self._callbacks.get(fd)) for fd, events in found]:
            # one before it may have closed the descriptor, whose number is used again
            if callback is not None and self._callbacks.get(fd) is callback:
                callback(events)
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if timer.callback is not None:
                timer.callback()

    def close(self) -> None:
        self._epoll.close()

"""The spawner's event loop: descriptors and timers in one thread."""

from __future__ import annotations

import heapq
import itertools
import select
import time
from collections.abc import Callable


class Loop:
    """epoll(7) with callbacks. A callback of a descriptor gets the events, one of a timer gets nothing."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def watch(self, fd: int, callback: Callable[[int], None], events: int = select.EPOLLIN) -> None:
        """Call `callback` when `fd` is ready; a second call for the descriptor replaces callback and events."""
        if fd in self._callbacks:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._callbacks[fd] = callback

    def forget(self, fd: int) -> None:
        """Stop watching; call it before the descriptor is closed."""
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def after(self, seconds: float, callback: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), callback))

    def turn(self) -> None:
        """Wait for descriptors or the next timer, and call back."""
        timeout = None if not self._timers else max(0.0, self._timers[0][0] - time.monotonic())
        for fd, events in self._epoll.poll(timeout):
            callback = self._callbacks.get(fd)
            if callback is not None:
                callback(events)
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()

"""The event loop: one epoll, a list from descriptor to handler, and a tick for everything that is timed.

It is level-triggered, and registers each descriptor once. A closed descriptor stays open until the batch of events is
handled: else its number could mean another connection within the batch.
"""

from __future__ import annotations

import os
import select
import sys
import traceback
from collections.abc import Callable, Sized
from time import monotonic, time
from typing import Final, Protocol

IN: Final = select.EPOLLIN
OUT: Final = select.EPOLLOUT
GONE: Final = select.EPOLLHUP | select.EPOLLERR
BATCH: Final = 512
MAX_BACKLOG: Final = 16
"""The size of the backlog from which on the loop does not sleep."""
_ONLY_IN: Final = 1
"""EPOLLIN as a literal, which the compiler inlines."""


class Handler(Protocol):
    """Receives the events of a descriptor."""

    def readable(self) -> None:
        """EPOLLIN and nothing else. A spurious call is allowed: a read that would block is no error."""

    def event(self, mask: int) -> None:
        """Any other set of events."""

    def abort(self) -> None:
        """An exception escaped while an event was handled: release everything."""


class Nobody:
    """Ignores the events of descriptors that were closed in this batch."""

    def readable(self) -> None: ...

    def event(self, mask: int) -> None: ...

    def abort(self) -> None: ...


NOBODY: Final = Nobody()


class Loop:
    """`now` is monotonic time and `wall` unix time in seconds, both read once per batch. `on_tick` is called every
    `tick_s`. While `busy` is false the loop sleeps until an event comes, without ticks."""

    def __init__(self, tick_s: float = 1.0, clock: Callable[[], float] = monotonic) -> None:
        self.epoll = select.epoll()
        self.handlers: list[Handler] = [NOBODY] * 1024
        self.clock = clock
        self.now = clock()
        self.wall = time()
        self.stopped = False
        self.on_tick: Callable[[float], None] = lambda now: None
        self.busy: Callable[[], bool] = lambda: True
        self.backlog: Sized = ()
        """Work for idle moments; `idle_work` does a little of it."""
        self.idle_work: Callable[[], None] = lambda: None
        self.deadline_work: Callable[[], None] = lambda: None
        """Called at the deadline that `within` set, and before each tick."""
        self.after_batch: list[Callable[[], bool]] = []
        """Called after each batch; one that returns False is done and removed. While there are any, the loop polls
        without waiting."""
        self.close_descriptor: Callable[[int], None] = os.close
        self.on_bug: Callable[[int], None] = self._bug
        """Called in the except block when the handler of a descriptor raised."""
        self._closing: list[int] = []
        self._tick_s = tick_s
        self._offset = time() - clock()
        self._next_tick = self._due = self.now + tick_s

    def within(self, seconds: float) -> None:
        """Call `deadline_work` in so many seconds at the latest."""
        self._due = min(self._due, self.now + seconds)

    def add(self, fd: int, handler: Handler, mask: int = IN) -> None:
        if fd >= len(self.handlers):
            self.handlers.extend([NOBODY] * (fd + 1024 - len(self.handlers)))
        self.handlers[fd] = handler
        self.epoll.register(fd, mask)

    def handle(self, fd: int, handler: Handler) -> None:
        """Give this handler a new descriptor, or one whose former handler is done with it."""
        if fd < len(self.handlers) and self.handlers[fd] is not NOBODY:
            self.handlers[fd] = handler
        else:
            self.add(fd, handler)

    def replace(self, fd: int, handler: Handler) -> None:
        """Give the descriptor's events to another handler."""
        self.handlers[fd] = handler

    def remove(self, fd: int) -> None:
        """Stop watching a descriptor without closing it."""
        self.handlers[fd] = NOBODY
        self.epoll.unregister(fd)

    def close(self, fd: int) -> None:
        """Close the descriptor after this batch; its events are ignored from now on."""
        self.handlers[fd] = NOBODY
        self._closing.append(fd)

    def run(self) -> None:
        """Handle events until `stopped`."""
        wait = self._tick_s
        while not self.stopped:
            wait = self.step(wait)
        self._close_all()

    def step(self, wait: float) -> float:
        """Wait for events up to `wait` seconds (-1: for ever) and handle them; returns how long to wait next."""
        events = self.epoll.poll(wait, BATCH)
        self.now = now = self.clock()
        self.wall = now + self._offset
        handlers = self.handlers
        for fd, mask in events:
            try:
                if mask == _ONLY_IN:
                    handlers[fd].readable()
                else:
                    handlers[fd].event(mask)
            except Exception:
                self.on_bug(fd)
        if self._closing:
            self._close_all()
        if not events and self.backlog:
            self.idle_work()
        if now >= self._due:
            self._timed(now)
        if self.after_batch:
            self._work_on()
        if self.after_batch or len(self.backlog) >= MAX_BACKLOG:
            return 0.0
        return self._due - now if events or self.busy() else -1.0

    def work_after_batch(self, work: Callable[[], bool]) -> None:
        """Call `work` after each batch until it returns False."""
        if work not in self.after_batch:
            self.after_batch.append(work)

    def _work_on(self) -> None:
        for work in list(self.after_batch):
            if not work():
                self.after_batch.remove(work)

    def _timed(self, now: float) -> None:
        ticks = now >= self._next_tick
        if ticks:
            self._next_tick = now + self._tick_s
        self._due = self._next_tick  # before the calls: they may set an earlier one
        self.deadline_work()
        if ticks:
            self._offset = time() - self.clock()
            self.on_tick(now)
            self._close_all()

    def _close_all(self) -> None:
        for fd in self._closing:
            self.close_descriptor(fd)
        self._closing.clear()

    def _bug(self, fd: int) -> None:
        """Report the exception, and end only the connection that met it."""
        report_bug()
        handler = self.handlers[fd]
        try:
            handler.abort()
        except Exception:
            report_bug()
            self.close(fd)


def report_bug() -> None:
    """Print the current exception for the operator."""
    print("router event=bug", traceback.format_exc(), file=sys.stderr, flush=True)

"""The event loop: one epoll, a list from descriptor to handler, a tick for everything that is timed.

Level-triggered; each descriptor is registered once. A closed descriptor stays open until the batch of events is
through, so that its number cannot mean another connection within the batch.
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
CHORES: Final = 16
"""With so many to do the loop does not sleep."""


class Handler(Protocol):
    """What a descriptor's events go to."""

    def readable(self) -> None:
        """EPOLLIN and nothing else. May be called without need: a read that would block is no error."""

    def event(self, mask: int) -> None:
        """Any other set of events."""

    def abort(self) -> None:
        """A bug was met while handling an event: let go of everything."""


class Nobody:
    """Takes the events of descriptors that were closed in this batch."""

    def readable(self) -> None: ...

    def event(self, mask: int) -> None: ...

    def abort(self) -> None: ...


NOBODY: Final = Nobody()


class Loop:
    """`now` is monotonic and `wall` unix time in seconds, read once per batch. `on_tick` is called once in `tick_s`.
    `busy` says whether there is anything to do without an event; if not the loop sleeps until one comes."""

    def __init__(self, tick_s: float = 1.0, clock: Callable[[], float] = monotonic) -> None:
        self.epoll = select.epoll()
        self.handlers: list[Handler] = [NOBODY] * 1024
        self.clock = clock
        self.now = clock()
        self.wall = time()
        self.stopped = False
        self.on_tick: Callable[[float], None] = lambda now: None
        self.busy: Callable[[], bool] = lambda: True
        self.chores: Sized = ()
        """What can wait until there is nothing else to do; `on_spare` does a little of it."""
        self.on_spare: Callable[[], None] = lambda: None
        self.on_due: Callable[[], None] = lambda: None
        """Called when the time has come that was asked for with `within`, and before each tick."""
        self.after_batch: list[Callable[[], bool]] = []
        """Each is called after each batch, and taken out when it has nothing more to do (False). While there is any, the
        loop does not wait for events."""
        self.close_descriptor: Callable[[int], None] = os.close
        self.on_bug: Callable[[int], None] = self._bug
        """Called when the handler of a descriptor raised, while that is being handled."""
        self._closing: list[int] = []
        self._tick_s = tick_s
        self._offset = time() - clock()
        self._next_tick = self._due = self.now + tick_s

    def within(self, seconds: float) -> None:
        """Have `on_due` called in so many seconds at the latest."""
        self._due = min(self._due, self.now + seconds)

    def add(self, fd: int, handler: Handler, mask: int = IN) -> None:
        if fd >= len(self.handlers):
            self.handlers.extend([NOBODY] * (fd + 1024 - len(self.handlers)))
        self.handlers[fd] = handler
        self.epoll.register(fd, mask)

    def handle(self, fd: int, handler: Handler) -> None:
        """Give a new descriptor, or one of another handler that has come to its end, to this one."""
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
        """Close the descriptor when this batch is through; no event of it is handled any more."""
        self.handlers[fd] = NOBODY
        self._closing.append(fd)

    def run(self) -> None:
        """Handle events until `stopped`."""
        wait = self._tick_s
        while not self.stopped:
            wait = self.step(wait)
        self._close_all()

    def step(self, wait: float) -> float:
        """Wait for events at most so many seconds (-1: for ever), handle them; returns how long to wait next."""
        events = self.epoll.poll(wait, BATCH)
        self.now = now = self.clock()
        self.wall = now + self._offset
        handlers = self.handlers
        for fd, mask in events:
            try:
                if mask == 1:
                    handlers[fd].readable()
                else:
                    handlers[fd].event(mask)
            except Exception:
                self.on_bug(fd)
        if self._closing:
            self._close_all()
        if not events and self.chores:
            self.on_spare()
        if now >= self._due:
            self._timed(now)
        if self.after_batch:
            self._work_on()
        if self.after_batch or len(self.chores) >= CHORES:
            return 0.0
        return self._due - now if events or self.busy() else -1.0

    def work_after_batch(self, work: Callable[[], bool]) -> None:
        """Have this called after each batch until it returns False."""
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
        self._due = self._next_tick  # set first: what is called may ask for less
        self.on_due()
        if ticks:
            self._offset = time() - self.clock()
            self.on_tick(now)
            self._close_all()

    def _close_all(self) -> None:
        for fd in self._closing:
            self.close_descriptor(fd)
        self._closing.clear()

    def _bug(self, fd: int) -> None:
        """A handler raised: say so, and end the one connection that met the bug."""
        report_bug()
        handler = self.handlers[fd]
        try:
            handler.abort()
        except Exception:
            report_bug()
            self.close(fd)


def report_bug() -> None:
    """A line for the operator about the exception that is being handled."""
    print("router event=bug", traceback.format_exc(), file=sys.stderr, flush=True)

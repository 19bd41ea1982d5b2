"""The gate of an app: how many of its requests go on at once, and how many more wait. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from router.rules.policy import Policy

PASSED: Final = 1
WAITS: Final = 0
FULL: Final = -1


class Gate:
    """Lets through as many requests of an app as its limit allows, none while it is paused. Kept across tables.
    `inside` counts requests that went through and are not over."""

    __slots__ = ("_opening", "inside", "limit", "paused", "queue", "waiting")

    def __init__(self) -> None:
        self.inside = 0
        self.limit = 0
        self.queue = 0
        self.paused = False
        self.waiting: OrderedDict[Callable[[], None], None] = OrderedDict()
        """Callbacks of waiting requests, in order of arrival; each is called when its request may go on."""
        self._opening = False

    def rule(self, policy: Policy | None) -> None:
        """Follow the policy of a new table."""
        self.limit = policy.max_inflight if policy is not None else 0
        self.queue = policy.queue if policy is not None else 0
        self.paused = policy is not None and policy.pause

    def enter(self, admitted: Callable[[], None]) -> int:
        """PASSED; WAITS: `admitted` will be called; FULL: too many wait already."""
        if not self._closed() and not self.waiting:
            self.inside += 1
            return PASSED
        if len(self.waiting) >= self.queue:
            return FULL
        self.waiting[admitted] = None
        return WAITS

    def leave(self) -> None:
        """A request that went through is over."""
        self.inside -= 1
        self.open()

    def forget(self, admitted: Callable[[], None]) -> None:
        """A request that waits is over."""
        del self.waiting[admitted]

    def open(self) -> None:
        """Let through as many as may. A request that is over at once calls this again: the loop here goes on then."""
        if self._opening:
            return
        self._opening = True
        try:
            while self.waiting and not self._closed():
                self.inside += 1
                self.waiting.popitem(last=False)[0]()
        finally:
            self._opening = False

    def _closed(self) -> bool:
        return self.paused or 0 < self.limit <= self.inside

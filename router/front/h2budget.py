"""A token bucket for each client of HTTP/2, against floods of cheap frames and resets.

A frame that carries little (ping, settings, priority, a few bytes of data) takes few tokens; a stream that is reset
takes many, whichever side resets it (CVE-2023-44487 and similar attacks). Tokens are refilled over time. A client
without tokens gets ENHANCE_YOUR_CALM.
"""

from __future__ import annotations

from typing import Final

from router.wire.h2wire import ENHANCE_YOUR_CALM, ConnectionFailed

BUDGET: Final = 2000.0
BUDGET_PER_S: Final = 200.0
RESET_COST: Final = 10.0
EARNED_PER_FRAME: Final = 4.0
EARNING_BYTES: Final = 1024
TINY_DATA: Final = 256
TINY_DATA_COST: Final = 0.25
"""The cost of a DATA frame below TINY_DATA bytes, which is as much work as one of 16 KiB."""


class Budget:
    """The tokens of one connection."""

    __slots__ = ("_at", "_tokens")

    def __init__(self, now: float) -> None:
        self._tokens = BUDGET
        self._at = now

    def refill(self, now: float) -> None:
        self._tokens = min(BUDGET, self._tokens + (now - self._at) * BUDGET_PER_S)
        self._at = now

    def spend(self, cost: float) -> None:
        """Take tokens for a frame that has come. Raises ConnectionFailed when there are not so many."""
        self._tokens -= cost
        if self._tokens < 0.0:
            raise ConnectionFailed(ENHANCE_YOUR_CALM)

    def spend_on_data(self, size: int, ended: bool) -> None:
        """The same for DATA."""
        if size >= TINY_DATA or ended:
            self.spend(0.0)
        else:
            self.spend(TINY_DATA_COST if size else 1.0)

    def reset(self) -> None:
        """A stream has been reset; the next frame pays when the tokens do not suffice."""
        self._tokens -= RESET_COST

    def earn(self, size: int, curbed: bool) -> None:
        """Data has been sent, so the client may answer with window updates. A small frame earns nothing if the windows
        `curbed` its size: else a client could earn by opening its window byte by byte."""
        if not curbed or size >= EARNING_BYTES:
            self._tokens += EARNED_PER_FRAME

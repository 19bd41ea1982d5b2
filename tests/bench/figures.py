"""One line of the bench's table, for the platform's and the builds' part."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Figure:
    """One line of the table; `rounds` are the single measurements, in `unit`."""

    name: str
    unit: str
    rounds: list[float]
    budget: str
    aim: str
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)


def timed(action: Callable[[], object]) -> float:
    """Seconds that it takes."""
    began = time.monotonic()
    action()
    return time.monotonic() - began

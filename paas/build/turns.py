"""How many build steps run at once on this machine."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator

from paas.build.output import Output
from paas.nouns.errors import Cancelled

POLL_S = 0.1


class BuildTurns:
    """At most `count` build steps run at once; an owner with none running may exceed that, up to twice `count`."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._running: Counter[int | None] = Counter()
        self._lock = threading.Lock()

    def enter(self, owner: int | None) -> bool:
        with self._lock:
            most = self._count if self._running[owner] else 2 * self._count
            if self._running.total() >= most:
                return False
            self._running[owner] += 1
            return True

    def leave(self, owner: int | None) -> None:
        with self._lock:
            self._running[owner] -= 1


_turns = BuildTurns(os.cpu_count() or 1)


@contextlib.contextmanager
def build_turn(owner: int | None, output: Output) -> Iterator[None]:
    """Wait until a step of this owner may run, then hold its turn. Raises Cancelled."""
    announced = False
    while not _turns.enter(owner):
        if output.cancelled():
            raise Cancelled("The build was cancelled.", cause="cancelled")
        if not announced:
            output.line("       Waiting for other builds to finish")
        announced = True
        time.sleep(POLL_S)
    try:
        yield
    finally:
        _turns.leave(owner)

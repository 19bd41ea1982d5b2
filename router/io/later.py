"""Long work in pieces: a little of it after each batch of events, so that nobody waits for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import Final

from router.io.loop import Loop, report_bug

WORK_S: Final = 0.002
"""How much of each turn of the loop may go into it."""


class Later:
    """Works through generators, one after the other; each yields where it may be interrupted."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._work: deque[Generator[None, None, None]] = deque()

    def add(self, work: Generator[None, None, None]) -> None:
        """Do this after what was given before."""
        self._work.append(work)
        self._loop.work_after_batch(self._work_on)

    def give_up(self) -> None:
        """Do no more of what was added."""
        while self._work:
            self._work.popleft().close()

    def _work_on(self) -> bool:
        """A batch of events is through; whether there is more to do."""
        if not self._work:
            return False
        work, clock = self._work[0], self._loop.clock
        until = clock() + WORK_S
        try:
            next(work)
            while clock() < until:
                next(work)
        except StopIteration:
            self._work.popleft()
        except Exception:
            self._work.popleft()
            report_bug()
        return bool(self._work)

"""Which builds run on this machine and which wait, in an order that is fair to their owners; who cancelled one."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from paas.build.output import Output
from paas.build.pressure import Pressure, pressure
from paas.nouns.errors import Cancelled
from paas.nouns.model import App
from paas.nouns.settings import Settings

POLL_S = 0.1
PRESSURE_WAIT_S = 60.0
"""So long a build waits for pressure to go: apps, or another owner's build, may be the reason for as long as they like."""


@dataclass(eq=False)
class Turn:
    """One build from its begin to its end. It `runs` once it may take steps, and until its end."""

    app_id: str
    number: int
    owner: int | None
    asked: bool = False
    runs: bool = False
    waits_for: str = ""
    """What people read while it waits."""
    cancelled_by: str = ""

    def refuse_cancelled(self) -> None:
        """Raises Cancelled if a member cancelled the build."""
        if self.cancelled_by:
            raise Cancelled(
                f"Cancelled by {self.cancelled_by}: build {self.number} ended, nothing was deployed.",
                "To build it after all, repeat the push or the command that began it.",
                cause=f"cancelled by {self.cancelled_by}",
            )


class BuildTurns:
    """At most `count` builds run steps at once; an owner with none running may exceed that, up to twice `count`.

    The next is a build of the owner with the fewest running; among equals, the one that came first.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._turns: list[Turn] = []
        self._lock = threading.Lock()

    @contextmanager
    def join(self, app: App, number: int) -> Iterator[Turn]:
        """The build's turn, which ends with the context."""
        turn = Turn(app.id, number, app.owner_id)
        with self._lock:
            self._turns.append(turn)
        try:
            yield turn
        finally:
            with self._lock:
                self._turns.remove(turn)

    def enter(self, turn: Turn, *, most: int | None = None) -> bool:
        """Let the build run if it is the next and fewer than `most` run; whether it runs."""
        with self._lock:
            turn.asked = True
            running = Counter(other.owner for other in self._turns if other.runs)
            bound = self._count if running[turn.owner] else 2 * self._count
            if not turn.runs:
                first = self._waiting()[0] is turn
                turn.runs = first and running.total() < (bound if most is None else min(bound, most))
            return turn.runs

    def ahead(self, turn: Turn) -> int:
        """How many builds get their turn before this one, which waits."""
        with self._lock:
            return self._waiting().index(turn)

    def _waiting(self) -> list[Turn]:
        served = Counter(other.owner for other in self._turns if other.runs)
        ranked: list[tuple[int, int, Turn]] = []
        for turn in self._turns:
            if turn.asked and not turn.runs:
                ranked.append((served[turn.owner], len(ranked), turn))
                served[turn.owner] += 1
        return [turn for _, _, turn in sorted(ranked, key=lambda rank: rank[:2])]

    def cancel(self, app_id: str, number: int, who: str) -> bool:
        """Have the build cancelled, in the name of `who`; False if it is not under way here."""
        with self._lock:
            found = [turn for turn in self._turns if (turn.app_id, turn.number) == (app_id, number)]
            for turn in found:
                turn.cancelled_by = turn.cancelled_by or who
            return bool(found)

    def waits_for(self, app_id: str, number: int) -> str | None:
        """What a build waits for, in words; None if it does not wait."""
        with self._lock:
            turns = [turn for turn in self._turns if (turn.app_id, turn.number) == (app_id, number)]
            return (turns[0].waits_for or None) if turns else None


TURNS = BuildTurns(os.cpu_count() or 1)
"""The builds of this process, which is the only one that builds."""


def take_turn(turns: BuildTurns, turn: Turn, settings: Settings, output: Output) -> None:
    """Return when the build may run steps, and say meanwhile what it waits for. Raises Cancelled."""
    began, said = time.monotonic(), ""
    while True:
        short = None if turn.runs else pressure(settings)
        patient = time.monotonic() - began < PRESSURE_WAIT_S
        if turns.enter(turn, most=_most(short, patient=patient)):
            turn.waits_for = ""
            return
        if output.cancelled():
            raise Cancelled("The build was cancelled.", cause="cancelled")
        ahead = turns.ahead(turn)
        why = f"{short.resource} pressure" if short else "a build slot"
        place = f"{ahead} ahead of you" if ahead else "you are next"
        turn.waits_for = f"{why}: {ahead} ahead" if ahead else f"{why}: next"
        if said != (said := f"{why}: {place}"):
            output.line(f"       Waiting for a build slot: {place}{f' ({short})' if short else ''}")
        time.sleep(POLL_S)


def _most(short: Pressure | None, *, patient: bool) -> int | None:
    """How many builds may run. The kernel gives apps their share of a short cpu, so one build at a time hurts nobody."""
    if short is None or not patient:
        return None
    return 1 if short.resource == "cpu" else 0

"""Turns of builds: builds that never end are their owner's trouble, and everybody sees when it is their turn."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest
from harness.nouns import make_app as an_app

from paas.build import turns
from paas.build.output import Output
from paas.build.pressure import Pressure
from paas.build.turns import BuildTurns, Turn, take_turn
from paas.nouns.errors import Cancelled
from paas.nouns.settings import load

ANN, EVE, BOB = 1, 2, 3
SETTINGS = load({}, {})


class Machine:
    """Builds of several owners; `come` makes one that asks for its turn at once."""

    def __init__(self, count: int) -> None:
        self.turns = BuildTurns(count)
        self._open: dict[Turn, ExitStack] = {}
        self._number = 0

    def come(self, owner: int | None) -> Turn:
        self._number += 1
        held = ExitStack()
        turn = held.enter_context(self.turns.join(an_app(id=f"a{owner}", owner_id=owner), self._number))
        self._open[turn] = held
        self.turns.enter(turn)
        return turn

    def end(self, turn: Turn) -> None:
        self._open.pop(turn).close()


@pytest.fixture(autouse=True)
def no_pressure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "pressure", lambda settings: None)


def test_one_owner_runs_as_many_as_there_are_cores() -> None:
    machine = Machine(2)
    first, second, third = (machine.come(EVE) for _ in range(3))
    assert (first.runs, second.runs, third.runs) == (True, True, False)
    machine.end(first)
    assert machine.turns.enter(third)


def test_hanging_builds_of_one_owner_keep_no_other_waiting() -> None:
    machine = Machine(2)
    while machine.come(EVE).runs:
        pass
    assert machine.come(ANN).runs
    assert not machine.come(ANN).runs
    assert machine.come(BOB).runs


def test_the_machine_is_bounded_whoever_asks() -> None:
    machine = Machine(2)
    assert [machine.come(owner).runs for owner in range(6)] == [True] * 4 + [False] * 2


def test_the_place_in_the_queue_is_fair_to_owners_and_first_come_among_equals() -> None:
    machine = Machine(1)
    running = machine.come(EVE), machine.come(BOB)
    assert all(turn.runs for turn in running)
    eves = [machine.come(EVE) for _ in range(3)]
    ann, bob = machine.come(ANN), machine.come(BOB)
    order = sorted([*eves, ann, bob], key=machine.turns.ahead)
    assert order == [ann, eves[0], bob, eves[1], eves[2]]
    machine.end(running[1])
    assert not machine.turns.enter(eves[0])
    assert machine.turns.enter(ann)


def test_a_turn_lasts_for_the_whole_build() -> None:
    machine = Machine(1)
    first = machine.come(ANN)
    second = machine.come(ANN)
    assert machine.turns.enter(first) and not machine.turns.enter(second)


def test_a_short_machine_runs_fewer() -> None:
    machine = Machine(4)
    with machine.turns.join(an_app(), 1) as one, machine.turns.join(an_app(), 2) as two:
        assert not machine.turns.enter(one, most=0)
        assert machine.turns.enter(one, most=1)
        assert not machine.turns.enter(two, most=1)
        assert machine.turns.enter(two)


def test_a_build_says_its_place_as_it_changes_and_can_be_cancelled_meanwhile() -> None:
    machine, heard, stop = Machine(1), list[str](), threading.Event()
    machine.come(EVE), machine.come(BOB)
    before = machine.come(EVE)

    def say(text: str) -> None:
        heard.append(text)
        if len(heard) == 1:
            assert machine.turns.waits_for("a2", 99) == "a build slot: 1 ahead"
            machine.end(before)
        else:
            stop.set()

    with machine.turns.join(an_app(id="a2", owner_id=EVE), 99) as turn, pytest.raises(Cancelled):
        take_turn(machine.turns, turn, SETTINGS, Output(say, stop.is_set))
    assert heard == [
        "       Waiting for a build slot: 1 ahead of you",
        "       Waiting for a build slot: you are next",
    ]
    assert machine.turns.waits_for("a2", 99) is None


def test_a_build_waits_while_memory_is_short_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    short = [Pressure("memory", 34.2, 20)] * 2
    monkeypatch.setattr(turns, "pressure", lambda settings: short.pop() if short else None)
    monkeypatch.setattr(turns, "POLL_S", 0.0)
    machine, heard = Machine(2), list[str]()
    with machine.turns.join(an_app(), 1) as turn:
        take_turn(machine.turns, turn, SETTINGS, Output(heard.append))
        assert turn.runs and not short
    assert heard == [
        "       Waiting for a build slot: you are next (memory pressure is 34 %, the limit 20 %)"
    ]


@pytest.mark.parametrize(("resource", "running"), [("cpu", 1), ("memory", 0), ("io", 0)])
def test_a_short_machine_holds_builds_up_but_not_for_ever(
    resource: str, running: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short cpu holds up the second build only, since builds give way; short memory or io the first one, too."""
    monkeypatch.setattr(turns, "pressure", lambda settings: Pressure(resource, 99.0, 20))
    machine, heard = Machine(4), list[str]()
    with ExitStack() as held:
        for number in range(running + 1):
            turn = held.enter_context(machine.turns.join(an_app(), number))
            output = Output(heard.append, lambda: bool(heard))
            if number < running:
                take_turn(machine.turns, turn, SETTINGS, output)
                assert turn.runs and heard == []
        with pytest.raises(Cancelled):
            take_turn(machine.turns, turn, SETTINGS, output)
        assert f"({resource} pressure is 99 %, the limit 20 %)" in heard[0]
        monkeypatch.setattr(turns, "PRESSURE_WAIT_S", 0.0)
        take_turn(machine.turns, turn, SETTINGS, output)
        assert turn.runs


def test_whoever_cancels_is_named() -> None:
    shared = BuildTurns(1)
    with shared.join(an_app(id="shop"), 7) as turn:
        turn.refuse_cancelled()
        assert not shared.cancel("shop", 8, "eve") and not shared.cancel("other", 7, "eve")
        assert shared.cancel("shop", 7, "ann") and shared.cancel("shop", 7, "bob")
        with pytest.raises(Cancelled, match="Cancelled by ann: build 7 ended") as caught:
            turn.refuse_cancelled()
    assert caught.value.cause == "cancelled by ann"
    assert not shared.cancel("shop", 7, "ann")

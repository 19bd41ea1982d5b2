"""Turns of build steps: builds that never end are their owner's trouble."""

from __future__ import annotations

import threading

import pytest

from paas.build import turns
from paas.build.output import Output
from paas.build.turns import BuildTurns, build_turn
from paas.nouns.errors import Cancelled

ANN, EVE, BOB = 1, 2, 3


def test_one_owner_runs_as_many_as_there_are_cores() -> None:
    shared = BuildTurns(2)
    assert [shared.enter(EVE) for _ in range(3)] == [True, True, False]
    shared.leave(EVE)
    assert shared.enter(EVE)


def test_hanging_builds_of_one_owner_keep_no_other_waiting() -> None:
    shared = BuildTurns(2)
    while shared.enter(EVE):
        pass
    assert shared.enter(ANN)
    assert not shared.enter(ANN)
    assert shared.enter(BOB)


def test_the_machine_is_bounded_whoever_asks() -> None:
    shared = BuildTurns(2)
    assert [shared.enter(owner) for owner in range(6)] == [True] * 4 + [False] * 2


def test_a_step_waits_for_its_turn_and_can_be_cancelled_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_turns", turns.BuildTurns(1))
    heard: list[str] = []
    stop = threading.Event()
    with build_turn(1, Output(heard.append)):
        assert heard == []

        def say_and_stop(text: str) -> None:
            heard.append(text)
            stop.set()

        with pytest.raises(Cancelled), build_turn(1, Output(say_and_stop, stop.is_set)):
            raise AssertionError("two at once")
    assert heard == ["       Waiting for other builds to finish"]
    with build_turn(1, Output(heard.append)):
        assert len(heard) == 1

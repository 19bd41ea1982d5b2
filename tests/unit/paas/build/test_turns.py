"""Turns of build steps: builds that never end are their owner's trouble."""

from __future__ import annotations

from paas.build.step import Turns

ANN, EVE, BOB = 1, 2, 3


def test_one_owner_runs_as_many_as_there_are_cores() -> None:
    turns = Turns(2)
    assert [turns.take(EVE) for _ in range(3)] == [True, True, False]
    turns.leave(EVE)
    assert turns.take(EVE)


def test_hanging_builds_of_one_owner_keep_no_other_waiting() -> None:
    turns = Turns(2)
    while turns.take(EVE):
        pass
    assert turns.take(ANN)
    assert not turns.take(ANN)
    assert turns.take(BOB)


def test_the_machine_is_bounded_whoever_asks() -> None:
    turns = Turns(2)
    assert [turns.take(owner) for owner in range(6)] == [True] * 4 + [False] * 2

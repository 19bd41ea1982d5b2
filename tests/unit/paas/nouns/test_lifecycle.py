"""The state tables, walked."""

from __future__ import annotations

import pytest

from paas.nouns import lifecycle
from paas.nouns.lifecycle import DEPLOYMENT, INSTANCE, Table

TABLES = [pytest.param(table, id=name) for name, table in lifecycle.TRANSITIONS.items()]


def reachable(table: Table, start: str) -> set[str]:
    seen, todo = set(), [start]
    while todo:
        state = todo.pop()
        if state not in seen:
            seen.add(state)
            todo += table[state].values()
    return seen


@pytest.mark.parametrize("table", TABLES)
def test_every_state_is_reached_from_the_first_and_leads_to_an_end(table: Table) -> None:
    assert reachable(table, next(iter(table))) == set(table)
    for state in table:
        assert any(not table[end] for end in reachable(table, state)), state


@pytest.mark.parametrize("table", TABLES)
def test_every_event_of_the_table_advances_and_every_other_is_refused(table: Table) -> None:
    every = {event for events in table.values() for event in events}
    for state, events in table.items():
        for event in every:
            if event in events:
                target = lifecycle.advance(table, state, event)
                lifecycle.check(table, state, target)
            else:
                with pytest.raises(lifecycle.WrongTransition):
                    lifecycle.advance(table, state, event)


def test_nothing_undoes_a_deployment_after_the_commit_point() -> None:
    assert reachable(DEPLOYMENT, lifecycle.COMMITTED) == {"draining", "succeeded"}


def test_before_the_commit_point_failing_and_cancelling_are_always_possible() -> None:
    for state in ("pending", "releasing", "starting", "switching"):
        assert lifecycle.advance(DEPLOYMENT, state, "fail") == "failed"
        assert lifecycle.advance(DEPLOYMENT, state, "cancel") == "cancelled"


def test_a_crash_ends_an_instance_in_any_state() -> None:
    for state in ("starting", "up", "draining", "stopping"):
        assert lifecycle.advance(INSTANCE, state, "exit") == "ended"


def test_unknown_states_are_refused() -> None:
    with pytest.raises(lifecycle.WrongTransition):
        lifecycle.advance(INSTANCE, "nowhere", "exit")
    with pytest.raises(lifecycle.WrongTransition):
        lifecycle.check(INSTANCE, "nowhere", "ended")

"""The state tables, walked."""

from __future__ import annotations

import pytest

from paas.nouns import lifecycle
from paas.nouns.lifecycle import DEPLOYMENT, INSTANCE, Table

TABLES = [pytest.param(DEPLOYMENT, id="deployment"), pytest.param(INSTANCE, id="instance")]


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
def test_every_step_of_the_table_is_allowed_and_every_other_is_refused(table: Table) -> None:
    for state, events in table.items():
        for target in table:
            if target in events.values():
                lifecycle.check(table, state, target)
            else:
                with pytest.raises(lifecycle.WrongTransition):
                    lifecycle.check(table, state, target)


def test_nothing_undoes_a_deployment_after_the_commit_point() -> None:
    assert reachable(DEPLOYMENT, lifecycle.COMMITTED) == {"draining", "succeeded"}


def test_before_the_commit_point_failing_and_cancelling_are_always_possible() -> None:
    for state in ("pending", "releasing", "starting", "switching"):
        lifecycle.check(DEPLOYMENT, state, "failed")
        lifecycle.check(DEPLOYMENT, state, "cancelled")


def test_a_crash_ends_an_instance_in_any_state() -> None:
    for state in ("starting", "up", "draining", "stopping"):
        lifecycle.check(INSTANCE, state, "ended")


def test_unknown_states_are_refused() -> None:
    with pytest.raises(lifecycle.WrongTransition):
        lifecycle.check(INSTANCE, "starting", "nowhere")
    with pytest.raises(lifecycle.WrongTransition):
        lifecycle.check(INSTANCE, "nowhere", "ended")

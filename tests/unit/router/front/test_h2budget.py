"""The tokens of a client of HTTP/2: spent on frames, refilled with time, earned by those who download."""

from __future__ import annotations

import pytest

from router.front.h2budget import BUDGET, BUDGET_PER_S, RESET_COST, TINY_DATA, Budget
from router.wire.h2wire import ENHANCE_YOUR_CALM, ConnectionFailed


def spent(budget: Budget) -> int:
    """How many frames of cost 1 are taken until the client is told to calm down."""
    for number in range(10_000):
        try:
            budget.spend(1.0)
        except ConnectionFailed as error:
            assert error.code == ENHANCE_YOUR_CALM
            return number
    raise AssertionError("it went on for ever")


def test_tokens_are_refilled_with_time_up_to_the_most() -> None:
    budget = Budget(5.0)
    assert spent(budget) == BUDGET
    budget.refill(6.0)
    assert spent(budget) == BUDGET_PER_S - 1  # the frame that failed has taken one
    budget.refill(1000.0)
    assert spent(budget) == BUDGET


def test_a_reset_is_paid_by_the_next_frame() -> None:
    budget = Budget(0.0)
    for _ in range(int(BUDGET / RESET_COST) + 1):
        budget.reset()
    with pytest.raises(ConnectionFailed):
        budget.spend(0.0)


def test_large_and_last_data_costs_nothing() -> None:
    budget = Budget(0.0)
    for _ in range(10_000):
        budget.spend_on_data(TINY_DATA, False)
        budget.spend_on_data(1, True)
    with pytest.raises(ConnectionFailed):
        for _ in range(10_000):
            budget.spend_on_data(1, False)


def test_data_that_was_sent_earns_unless_a_window_curbed_it_to_little() -> None:
    earning, curbed = Budget(0.0), Budget(0.0)
    for _ in range(100):
        earning.earn(1, False)
        curbed.earn(1, True)
    assert spent(earning) > spent(curbed) == BUDGET

"""The gate by itself: who passes, who waits, in which order, and what a new policy changes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from router.rules.gate import FULL, PASSED, WAITS, Gate
from router.rules.policy import Policy


def waiter(admitted: list[int], number: int) -> Callable[[], None]:
    return partial(admitted.append, number)


def test_those_who_wait_are_let_through_in_their_order() -> None:
    gate, admitted = Gate(), list[int]()
    gate.rule(Policy(max_inflight=1, queue=2))
    first, second = waiter(admitted, 1), waiter(admitted, 2)
    assert gate.enter(waiter(admitted, 0)) == PASSED
    assert [gate.enter(first), gate.enter(second), gate.enter(waiter(admitted, 3))] == [WAITS, WAITS, FULL]
    gate.leave()
    assert admitted == [1] and gate.inside == 1
    gate.forget(second)
    gate.leave()
    assert admitted == [1] and gate.inside == 0 and not gate.waiting


def test_one_that_is_over_at_once_does_not_keep_others_waiting() -> None:
    """It leaves while the gate opens: the opening goes on, however many there are, without recursion."""
    gate, admitted = Gate(), list[int]()
    gate.rule(Policy(max_inflight=1, queue=5000))

    def over(number: int) -> None:
        admitted.append(number)
        gate.leave()

    assert gate.enter(waiter(admitted, -1)) == PASSED
    for number in range(3000):
        assert gate.enter(partial(over, number)) == WAITS
    gate.leave()
    assert admitted == list(range(3000)) and gate.inside == 0


def test_a_pause_holds_all_and_its_end_lets_them_through() -> None:
    gate, admitted = Gate(), list[int]()
    gate.rule(Policy(pause=True, queue=9))
    assert gate.enter(waiter(admitted, 1)) == WAITS
    gate.open()
    assert admitted == []
    gate.rule(None)
    gate.open()
    assert admitted == [1] and gate.inside == 1

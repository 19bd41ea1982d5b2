"""Turns: a share for each owner, and something left for those who have none."""

from __future__ import annotations

import threading

import pytest
from harness.platform import wait_for

from paas.daemon.turns import Turns
from paas.nouns.errors import Cancelled, TooMany


def test_an_owner_has_few_at_once_and_all_have_a_bound() -> None:
    turns = Turns(3, 2, "Enough are under way")
    with turns.one(1), turns.one(1):
        with pytest.raises(TooMany, match="Enough are under way already"):
            turns.take(1)
        with turns.one(2), pytest.raises(TooMany):
            turns.take(2)
    turns.take(1)


def test_owners_that_hold_all_they_may_leave_turns_for_others() -> None:
    turns = Turns(8, 2, "Enough are under way")
    for number in range(8):
        turns.take(number // 2)
    for owner in ("ann", "bob", "carl", "dora"):
        turns.take(owner)
        with pytest.raises(TooMany):
            turns.take(owner)


def test_who_waits_longest_is_next_and_whoever_may_not_go_holds_up_nobody() -> None:
    turns, order = Turns(1, 1, "One is under way"), list[str]()
    turns.take("held")
    turns.take("too")  # twice as many, for an owner who had none

    def wait(owner: str, name: str) -> None:
        turns.take(owner, lambda: False)
        order.append(name)

    waiting = [("held", "its own turn is taken"), ("ann", "first"), ("bob", "second")]
    for count, each in enumerate(waiting, 1):
        threading.Thread(target=wait, args=each, daemon=True).start()
        wait_for(lambda count=count: len(turns._waiting) == count)
    turns.leave("too")
    wait_for(lambda: order == ["first"])
    turns.leave("ann")
    wait_for(lambda: order == ["first", "second"])
    turns.leave("held")
    wait_for(lambda: order[2:] == ["its own turn is taken"])


def test_who_gives_up_leaves_the_queue() -> None:
    turns = Turns(1, 1, "One is under way")
    with turns.one(1), turns.one(2), pytest.raises(Cancelled):
        turns.take(3, lambda: True)
    with turns.one(4), turns.one(5):
        pass

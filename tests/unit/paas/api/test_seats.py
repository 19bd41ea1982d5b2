"""Places for requests: one count for each user, and something left for everybody else."""

from __future__ import annotations

import threading
import time

import pytest

from paas.api.access import Principal
from paas.api.seats import EACH, LASTING, POOLS, RESERVE, ROOTS, Bounds, Seats
from paas.nouns.errors import Unavailable
from paas.nouns.model import User

ROOT = Principal("root", None, True, "root")


def member(name: str, via: str = "git") -> Principal:
    return Principal(name, User(1, name, "member"), False, via)


def seats(most: int = 5, patience_s: float = 0.0) -> Seats:
    return Seats(Bounds({"git": most, "token": most}, each=3, lasting=2, few=1, patience_s=patience_s))


def test_one_user_gets_some_over_all_ways_together() -> None:
    made = seats(most=9)
    leave = [made.enter(member("eve", via)) for via in ("git", "token", "git")]
    for via in ("git", "token"):
        with pytest.raises(Unavailable, match="3 requests of yours"):
            made.enter(member("eve", via))
    made.enter(member("ann"))
    leave[0]()
    made.enter(member("eve"))


def test_leaving_twice_frees_one_place() -> None:
    made = seats(most=9)
    leave = made.enter(member("eve"))
    for _ in range(2):
        made.enter(member("eve"))
    leave()
    leave()
    made.enter(member("eve"))
    with pytest.raises(Unavailable):
        made.enter(member("eve"))


def test_in_a_crowd_those_who_have_few_get_a_place() -> None:
    made = seats(most=5)
    for name in ("eve", "eve", "eve", "mallory", "mallory"):
        made.enter(member(name))
    with pytest.raises(Unavailable, match="busy with others"):
        made.enter(member("mallory"))
    leave = made.enter(member("ann"))
    with pytest.raises(Unavailable, match="busy with others"):
        made.enter(member("ann"))
    leave()
    made.enter(member("ann"))


def test_a_burst_waits_for_its_turn() -> None:
    made = seats(most=9, patience_s=30)
    leave = [made.enter(member("eve")) for _ in range(3)]
    threading.Timer(0.05, leave[0]).start()
    began = time.monotonic()
    made.enter(member("eve"))
    assert time.monotonic() - began < 30


def test_what_lasts_leaves_room_for_ones_own_short_requests() -> None:
    made = seats()
    end = [made.stay(member("eve")) for _ in range(2)]
    with pytest.raises(Unavailable, match="2 requests of yours"):
        made.stay(member("eve"))
    made.stay(member("ann"))
    end[0]()
    made.stay(member("eve"))


def test_root_is_bound_in_what_lasts_alone() -> None:
    made = seats()
    for _ in range(100):
        made.enter(ROOT)
    for _ in range(ROOTS):
        made.stay(ROOT)
    with pytest.raises(Unavailable):
        made.stay(ROOT)


def test_no_two_users_can_hold_every_thread() -> None:
    assert LASTING < EACH
    assert all(most >= 2 * EACH for most in POOLS.values()) and RESERVE > 0

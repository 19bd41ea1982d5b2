"""Places for requests: one count for each user, and something left for everybody else."""

from __future__ import annotations

import threading
import time

import pytest

from paas.api.access import Principal
from paas.api.limiter import EACH, HOOKS, LASTING, OF_AN_OWNER, POOLS, RESERVE, ROOTS, Bounds, RequestLimiter
from paas.nouns.errors import TooMany, Unavailable
from paas.nouns.model import User

ROOT = Principal("root", None, True, "root")


def member(name: str, via: str = "git") -> Principal:
    return Principal(name, User(1, name, "member"), False, via)


def delivery(owner: object) -> Principal:
    return Principal(f"hooks of {owner}", None, False, "hook")


def limiter(most: int = 5, wait_s: float = 0.0) -> RequestLimiter:
    return RequestLimiter(Bounds({"git": most, "token": most}, each=3, lasting=2, few=1, wait_s=wait_s))


def test_one_user_gets_some_over_all_ways_together() -> None:
    made = limiter(most=9)
    leave = [made.acquire(member("eve", via)) for via in ("git", "token", "git")]
    for via in ("git", "token"):
        with pytest.raises(Unavailable, match="3 requests of yours"):
            made.acquire(member("eve", via))
    made.acquire(member("ann"))
    leave[0]()
    made.acquire(member("eve"))


def test_leaving_twice_frees_one_place() -> None:
    made = limiter(most=9)
    leave = made.acquire(member("eve"))
    for _ in range(2):
        made.acquire(member("eve"))
    leave()
    leave()
    made.acquire(member("eve"))
    with pytest.raises(Unavailable):
        made.acquire(member("eve"))


def test_in_a_crowd_those_who_have_few_get_a_place() -> None:
    made = limiter(most=5)
    for name in ("eve", "eve", "eve", "mallory", "mallory"):
        made.acquire(member(name))
    with pytest.raises(Unavailable, match="busy with others"):
        made.acquire(member("mallory"))
    leave = made.acquire(member("ann"))
    with pytest.raises(Unavailable, match="busy with others"):
        made.acquire(member("ann"))
    leave()
    made.acquire(member("ann"))


def test_a_burst_waits_for_its_turn() -> None:
    made = limiter(most=9, wait_s=30)
    leave = [made.acquire(member("eve")) for _ in range(3)]
    threading.Timer(0.05, leave[0]).start()
    began = time.monotonic()
    made.acquire(member("eve"))
    assert time.monotonic() - began < 30


def test_what_lasts_leaves_room_for_ones_own_short_requests() -> None:
    made = limiter()
    end = [made.acquire_lasting(member("eve")) for _ in range(2)]
    with pytest.raises(Unavailable, match="2 requests of yours"):
        made.acquire_lasting(member("eve"))
    made.acquire_lasting(member("ann"))
    end[0]()
    made.acquire_lasting(member("eve"))


def test_root_is_bound_in_what_lasts_alone() -> None:
    made = limiter()
    for _ in range(100):
        made.acquire(ROOT)
    for _ in range(ROOTS):
        made.acquire_lasting(ROOT)
    with pytest.raises(Unavailable):
        made.acquire_lasting(ROOT)


def test_no_two_users_can_hold_every_thread() -> None:
    assert LASTING < EACH
    assert all(most >= 2 * EACH for most in POOLS.values()) and RESERVE > 0


def test_deliveries_have_a_few_places_of_their_own_and_no_four_owners_hold_them() -> None:
    made = limiter()
    leave = [made.acquire(delivery(number // OF_AN_OWNER)) for number in range(HOOKS)]
    with pytest.raises(TooMany):
        made.acquire(delivery(0))
    leave += [made.acquire(delivery(f"another {number}")) for number in range(HOOKS)]
    with pytest.raises(TooMany):
        made.acquire(delivery("one too many"))
    made.acquire(member("ann", "token"))
    for each in leave:
        each()
    made.acquire(delivery(0))

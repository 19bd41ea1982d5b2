"""Places for requests that last."""

from __future__ import annotations

import pytest

from paas.api.access import Principal
from paas.api.seats import Seats
from paas.api.serve import LOCAL_THREADS, REMOTE_THREADS
from paas.errors import Unavailable
from paas.model import User

ROOT = Principal("root", None, True, "root")


def member(name: str) -> Principal:
    return Principal(name, User(1, name, "member"), False, "git")


def test_one_user_gets_some_and_leaves_the_rest() -> None:
    seats = Seats("changes", most=5, each=2)
    leave = [seats.take(member("eve")) for _ in range(2)]
    with pytest.raises(Unavailable, match="2 changes of yours"):
        seats.take(member("eve"))
    seats.take(member("ann"))
    leave[0]()
    seats.take(member("eve"))


def test_leaving_twice_frees_one_seat() -> None:
    seats = Seats("changes", most=5, each=2)
    leave, _ = seats.take(member("eve")), seats.take(member("eve"))
    leave()
    leave()
    seats.take(member("eve"))
    with pytest.raises(Unavailable):
        seats.take(member("eve"))


def test_root_is_bound_by_the_whole_alone() -> None:
    seats = Seats("changes", most=3, each=1)
    for _ in range(3):
        seats.take(ROOT)
    with pytest.raises(Unavailable, match="3 changes are under way"):
        seats.take(ROOT)


def test_one_user_cannot_hold_every_thread() -> None:
    from paas.api import logs, runs, streams

    held = sum(seats._each for seats in (logs._followers, runs._attached, streams._works))
    assert held < min(LOCAL_THREADS, REMOTE_THREADS)

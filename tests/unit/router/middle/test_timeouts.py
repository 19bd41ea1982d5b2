"""What an app may set of the limits on time, and that the newest table counts for what is already under way."""

from __future__ import annotations

import pytest
from harness.router import Rig

GET = b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"
PART = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart"


def failed(rig: Rig) -> list[tuple[int, str]]:
    return [(entry.status, entry.own_answer.code) for entry in rig.log()]


@pytest.mark.parametrize("limit_s", [3, 90])
def test_an_app_says_how_long_its_first_byte_may_take(limit_s: int) -> None:
    rig = Rig(first_byte_s=limit_s)
    rig.client().send(GET)
    rig.advance(limit_s)
    assert failed(rig) == []
    rig.advance(2)
    assert failed(rig) == [(503, "H12")]
    rig.close()


@pytest.mark.parametrize("limit_s", [3, 90])
def test_an_app_says_how_long_nothing_may_move(limit_s: int) -> None:
    rig = Rig(rolling_s=limit_s)
    rig.client().send(GET)
    rig.backend.send(PART)
    for _ in range(3):
        rig.advance(limit_s)
        rig.backend.send(b"more")
    assert failed(rig) == []
    rig.advance(limit_s + 2)
    assert failed(rig) == [(200, "H15")]
    rig.close()


def test_a_new_table_counts_for_a_body_that_is_under_way(rig: Rig) -> None:
    rig.client().send(GET)
    rig.backend.send(PART)
    rig.set_table(("i1",), rolling_s=3)
    rig.advance(5)
    assert failed(rig) == [(200, "H15")]


def test_a_route_that_is_gone_keeps_the_limits_it_had() -> None:
    rig = Rig(rolling_s=90)
    rig.client().send(GET)
    rig.backend.send(PART)
    rig.upstreams.set_table({"generation": 99, "routes": [], "pools": {}})
    rig.advance(80)
    assert failed(rig) == []
    rig.close()


def test_a_backend_to_which_connecting_takes_too_long_is_left_for_another(pair: Rig) -> None:
    pair.silent.add("i1")
    pair.silent.add("i2")
    pair.client().send(GET)
    first = pair.backend.backend
    pair.silent.clear()
    pair.advance(5)
    assert len(pair.dialled) == 1
    pair.advance(2)
    assert len(pair.dialled) == 2 and pair.backend.backend != first
    assert pair.shared.metrics.retries == 1

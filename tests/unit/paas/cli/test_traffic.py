"""From two readings of counters to rates, and to the screen."""

from __future__ import annotations

from typing import Any

import pytest

from paas.cli.output import columns
from paas.cli.traffic import lines, quantile, rates

BOUNDS = [0.01, 0.1, 1.0]


def worker(
    pid: int, total: int, *, buckets: tuple[int, ...] = (0, 0, 0, 0), inflight: int = 0, up: bool = True
) -> Any:
    counts = {
        "total": total,
        "2xx": total,
        "bytes": total * 1000,
        "received_bytes": 0,
        "buckets": list(buckets),
        "waiting": 1,
    }
    backend = {"app": "hello", "dyno": "web.1", "inflight": inflight, "requests": total, "up": up}
    return {"worker": pid, "apps": {"hello": counts}, "backends": {"i1": backend}}


def reading(at: float, *workers: Any) -> Any:
    return {"at": at, "bounds_s": BOUNDS, "workers": list(workers)}


def test_rates_are_differences_by_worker_and_second() -> None:
    before = reading(10.0, worker(1, 100, buckets=(100, 0, 0, 0)), worker(2, 50, buckets=(50, 0, 0, 0)))
    after = reading(
        12.0,
        worker(1, 110, buckets=(105, 5, 0, 0), inflight=2),
        worker(2, 80, buckets=(80, 0, 0, 0), inflight=1),
    )
    found = rates(before, after)
    hello = found["apps"]["hello"]
    assert hello["requests_per_s"] == hello["2xx_per_s"] == 20.0
    assert hello["sent_bytes_per_s"] == 20_000.0 and hello["5xx_per_s"] == 0
    assert (hello["inflight"], hello["waiting"]) == (3, 2)
    assert hello["backends"] == {"web.1": {"inflight": 3, "requests_per_s": 20.0, "up": True}}
    assert found["total"]["requests_per_s"] == 20.0
    assert hello["p50_s"] < 0.01 < hello["p95_s"] < 0.1


def test_a_worker_that_came_or_went_makes_no_spike_and_nothing_negative() -> None:
    before = reading(10.0, worker(1, 1000), worker(2, 50))
    after = reading(11.0, worker(2, 60), worker(3, 7000))
    assert rates(before, after)["apps"]["hello"]["requests_per_s"] == 10.0
    assert rates(reading(1.0, worker(1, 10)), reading(2.0, worker(1, 3)))["total"]["requests_per_s"] == 0
    assert rates(reading(1.0), reading(2.0))["apps"] == {}


@pytest.mark.parametrize(
    ("buckets", "share", "wanted"),
    [
        ((0, 0, 0, 0), 0.5, None),
        ((10, 0, 0, 0), 0.5, 0.005),
        ((1, 1, 0, 0), 0.5, 0.01),
        ((0, 0, 0, 5), 0.5, 1.0),
    ],
)
def test_a_quantile_is_estimated_within_its_bucket(
    buckets: tuple[int, ...], share: float, wanted: float | None
) -> None:
    assert quantile(BOUNDS, buckets, share) == wanted


def test_the_screen_has_the_busiest_first_and_the_total_last() -> None:
    before, after = reading(1.0, worker(1, 0)), reading(2.0, worker(1, 5, inflight=3, up=False))
    for each in (before, after):
        each["workers"][0]["apps"]["idle\x1b[2J"] = {"total": 0, "buckets": [0, 0, 0, 0]}
    shown = lines(rates(before, after))
    assert [line.split()[0] for line in shown] == ["APP", "hello", "idle?[2J", "total"]
    assert shown[1].endswith(" web.1:3!") and " 5.0 " in shown[1]


def test_numbers_stand_below_each_other() -> None:
    assert columns([("A", "N", "Z"), ("bb", "10", "z")], numbers=True) == ["A    N  Z", "bb  10  z"]

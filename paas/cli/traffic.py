"""Rates from two readings of the router's counters, and their table on the screen. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from paas.cli import output
from paas.nouns.text import quoted

CLASSES = ("2xx", "3xx", "4xx", "5xx")
_COUNTERS = ("total", *CLASSES, "bytes", "received_bytes")


def rates(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """`{"seconds", "apps": {name: …}, "total": …}` between two answers of `/v1/router/stats`.

    Counters begin anew with each worker, so differences are taken worker by worker; one that was not there
    before counts from the next reading on.
    """
    seconds = max(after["at"] - before["at"], 0.001)
    earlier = {worker["worker"]: worker for worker in before["workers"]}
    apps: dict[str, dict[str, Any]] = {}
    for worker in after["workers"]:
        old = earlier.get(worker["worker"])
        for name, counts in worker["apps"].items():
            _add(apps.setdefault(name, _empty()), counts, (old or worker)["apps"].get(name, {}))
        for id, backend in worker["backends"].items():
            past = (old or worker)["backends"].get(id, {})
            _add_backend(apps.setdefault(backend["app"], _empty()), backend, past.get("requests", 0))
    total: dict[str, Any] = _empty()
    for app in apps.values():
        for name in (*_COUNTERS, "inflight", "waiting"):
            total[name] += app[name]
        total["buckets"] = _sums(total["buckets"], app["buckets"])
    bounds = after["bounds_s"]
    shown = {name: _finished(app, seconds, bounds) for name, app in apps.items()}
    return {"seconds": seconds, "apps": shown, "total": _finished(total, seconds, bounds)}


def _empty() -> dict[str, Any]:
    return {
        **dict.fromkeys((*_COUNTERS, "inflight", "waiting"), 0),
        "buckets": [],
        "backends": {},
    }


def _add(app: dict[str, Any], now: dict[str, Any], past: dict[str, Any]) -> None:
    for name in _COUNTERS:
        app[name] += max(0, now.get(name, 0) - past.get(name, 0))
    app["waiting"] += now.get("waiting", 0)
    old = past.get("buckets") or [0] * len(now.get("buckets", []))
    app["buckets"] = _sums(
        app["buckets"], [max(0, n - o) for n, o in zip(now.get("buckets", []), old, strict=False)]
    )


def _sums(one: Sequence[int], other: Sequence[int]) -> list[int]:
    return [a + b for a, b in zip(one, other, strict=True)] if one and other else list(one or other)


def _add_backend(app: dict[str, Any], backend: dict[str, Any], past: int) -> None:
    app["inflight"] += backend["inflight"]
    name = backend["dyno"] or "-"
    found = app["backends"].setdefault(name, {"inflight": 0, "requests": 0, "up": True})
    found["inflight"] += backend["inflight"]
    found["requests"] += max(0, backend["requests"] - past)
    found["up"] = found["up"] and backend["up"]


def _finished(app: dict[str, Any], seconds: float, bounds: Sequence[float]) -> dict[str, Any]:
    """Counts as rates a second, times from the histogram."""
    return {
        "requests_per_s": app["total"] / seconds,
        "inflight": app["inflight"],
        "waiting": app["waiting"],
        "p50_s": quantile(bounds, app["buckets"], 0.5),
        "p95_s": quantile(bounds, app["buckets"], 0.95),
        **{f"{name}_per_s": app[name] / seconds for name in CLASSES},
        "sent_bytes_per_s": app["bytes"] / seconds,
        "received_bytes_per_s": app["received_bytes"] / seconds,
        "backends": {
            name: {"inflight": b["inflight"], "requests_per_s": b["requests"] / seconds, "up": b["up"]}
            for name, b in sorted(app["backends"].items())
        },
    }


def quantile(bounds: Sequence[float], buckets: Sequence[int], share: float) -> float | None:
    """The time below which this share of the requests stayed, even within its bucket; None without requests. In the last
    bucket, which has no upper bound, its lower one.

    >>> quantile((1.0, 2.0), (10, 10, 0), 0.75)
    1.5
    """
    wanted = sum(buckets) * share
    if not wanted:
        return None
    low = 0.0
    for bound, count in zip(bounds, buckets, strict=False):
        if wanted <= count:
            return low + (bound - low) * wanted / count
        wanted -= count
        low = bound
    return low


# words

HEAD = ("APP", "REQ/S", "INFLIGHT", "QUEUE", "P50", "P95", "2XX/S", "3XX/S", "4XX/S", "5XX/S", "OUT/S", "IN/S", "INSTANCES")  # fmt: skip


def lines(found: dict[str, Any]) -> list[str]:
    """The screen: busiest apps first, the total last."""
    busiest = sorted(
        found["apps"].items(), key=lambda item: (-item[1]["requests_per_s"], -item[1]["inflight"], item[0])
    )
    rows = [HEAD, *(_row(quoted(name), app) for name, app in busiest), _row("total", found["total"])]
    return output.columns(rows, numbers=True)


def _row(name: str, app: dict[str, Any]) -> tuple[str, ...]:
    return (
        name,
        _rate(app["requests_per_s"]),
        str(app["inflight"]),
        str(app["waiting"]),
        _time(app["p50_s"]),
        _time(app["p95_s"]),
        *(_rate(app[f"{kind}_per_s"]) for kind in CLASSES),
        output.size(round(app["sent_bytes_per_s"])),
        output.size(round(app["received_bytes_per_s"])),
        " ".join(f"{quoted(dyno)}:{b['inflight']}{'' if b['up'] else '!'}" for dyno, b in app["backends"].items()),
    )  # fmt: skip


def _rate(value: float) -> str:
    return "0" if not value else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.0f} s"

"""The counters of one worker: of each app, from the access log's entries, and of the worker as a whole."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Any, Final

from router.report.entry import UNKNOWN, Entry
from router.rules.route import Backend, Route

BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class AppCounts:
    """The counters of one app. `failed` counts answers that the router made or cut short because no backend answered
    properly; `gone` counts clients that disconnected. Bytes are those of bodies."""

    __slots__ = (
        "buckets",
        "classes",
        "connect_s",
        "connects",
        "failed",
        "gone",
        "received_bytes",
        "sent_bytes",
        "service_s",
    )

    def __init__(self) -> None:
        self.classes = [0] * 10
        """Counts of answers, by the first digit of the status."""
        self.failed = 0
        self.gone = 0
        self.sent_bytes = 0
        self.received_bytes = 0
        self.service_s = 0.0
        self.connect_s = 0.0
        self.connects = 0
        self.buckets = [0] * (len(BUCKETS_S) + 1)

    def by_class(self) -> dict[str, int]:
        """Requests by status class; a status above 599 is a 5xx to a client (RFC 9110 section 15)."""
        classes = self.classes
        return {f"{n}xx": classes[n] for n in range(1, 5)} | {"5xx": sum(classes[5:])}

    def to_json(self) -> dict[str, Any]:
        return {
            "total": sum(self.classes),
            **self.by_class(),
            "failed": self.failed,
            "client_gone": self.gone,
            "bytes": self.sent_bytes,
            "received_bytes": self.received_bytes,
            "service_s": round(self.service_s, 6),
            "buckets": self.buckets,
        }


class Metrics:
    """The counters of one worker. `count` adds up entries; the other counters are incremented where the thing
    happens."""

    def __init__(self) -> None:
        self.apps: dict[str, AppCounts] = {}
        self.retries = 0
        self.ejections = 0
        self.health_failures = 0
        """Active checks that failed."""
        self.tls_handshakes = 0
        self.tls_resumptions = 0
        """Those of `tls_handshakes` that resumed a session."""
        self.tls_failures = 0
        self.h2_connections = 0
        self.h2_streams = 0
        self.turned_away = 0
        """Connections refused because their client had too many."""
        self.given_up = 0
        """Idle connections closed because descriptors ran out."""

    def app(self, route: Route | None) -> AppCounts:
        name = route.app if route is not None else UNKNOWN
        counts = self.apps.get(name)
        if counts is None:
            counts = self.apps[name] = AppCounts()
        return counts

    def keep(self, apps: set[str]) -> None:
        """Drop the counters of all other apps; they no longer exist."""
        for name in self.apps.keys() - apps - {UNKNOWN}:
            del self.apps[name]

    def count(self, entries: Iterable[Entry]) -> None:
        last: Route | None = None
        counts: AppCounts | None = None
        for _, _, _, _, _, _, backend, connect_s, service_s, status, body_bytes, own_answer, route, _ in entries:  # fmt: skip
            if counts is None or route is not last:
                last = route
                counts = self.app(route)
            counts.classes[status // 100] += 1
            if status >= 500 and backend is not None:
                backend.errors += 1
            counts.sent_bytes += body_bytes
            counts.service_s += service_s
            counts.buckets[bisect_left(BUCKETS_S, service_s) if service_s > BUCKETS_S[0] else 0] += 1
            if connect_s:
                counts.connect_s += connect_s
                counts.connects += 1
            if own_answer is not None and own_answer.code:
                if own_answer.code == "H27":
                    counts.gone += 1
                else:
                    counts.failed += 1

    def to_json(self, backends: Iterable[Backend], now: float) -> dict[str, Any]:
        return {
            "requests": {name: counts.to_json() for name, counts in self.apps.items()},
            "backends": {
                b.id: {
                    "app": b.app,
                    "dyno": b.dyno.decode(),
                    "inflight": b.inflight,
                    "requests": b.requests,
                    "failures": b.failures,
                    "errors": b.errors,
                    "up": b.fit(now),
                }
                for b in backends
            },
            "retries": self.retries,
            "ejections": self.ejections,
            "health_failures": self.health_failures,
        }

"""Counters per app and their rendering: for the control socket, and as Prometheus text."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from router.table import Backend

if TYPE_CHECKING:
    from router.access import Entry

BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
UNKNOWN: Final = "_unknown"


class AppCounts:
    """What happened to one app's requests. `failed` counts answers that the router had to make up or cut short
    because no backend answered properly; clients that went away are not among them."""

    __slots__ = ("buckets", "classes", "connect_s", "connects", "failed", "gone", "sent_bytes", "service_s")

    def __init__(self) -> None:
        self.classes = [0] * 6
        self.failed = 0
        self.gone = 0
        self.sent_bytes = 0
        self.service_s = 0.0
        self.connect_s = 0.0
        self.connects = 0
        self.buckets = [0] * (len(BUCKETS_S) + 1)

    def to_json(self) -> dict[str, Any]:
        classes = {f"{n}xx": self.classes[n] for n in range(1, 6)}
        return {
            "total": sum(self.classes),
            **classes,
            "failed": self.failed,
            "client_gone": self.gone,
            "bytes": self.sent_bytes,
            "service_s": round(self.service_s, 6),
        }


class Metrics:
    """The counters of one worker."""

    def __init__(self) -> None:
        self.apps: dict[str, AppCounts] = {}
        self.retries = 0
        self.ejections = 0

    def count(self, entries: Iterable[Entry]) -> None:
        apps = self.apps
        for _, _, _, _, _, _, _, connect_s, service_s, status, body_bytes, failure, route, _ in entries:
            name = route.app if route is not None else UNKNOWN
            counts = apps.get(name)
            if counts is None:
                counts = apps[name] = AppCounts()
            counts.classes[status // 100] += 1
            counts.sent_bytes += body_bytes
            counts.service_s += service_s
            counts.buckets[bisect_left(BUCKETS_S, service_s)] += 1
            if connect_s:
                counts.connect_s += connect_s
                counts.connects += 1
            if failure is not None and failure.code:
                if failure.code == "H27":
                    counts.gone += 1
                else:
                    counts.failed += 1

    def to_json(self, backends: Iterable[Backend]) -> dict[str, Any]:
        return {
            "requests": {name: counts.to_json() for name, counts in self.apps.items()},
            "backends": {
                b.id: {"inflight": b.inflight, "requests": b.requests, "failures": b.failures}
                for b in backends
            },
            "retries": self.retries,
            "ejections": self.ejections,
        }

    def to_text(self, backends: Iterable[Backend], worker: int) -> str:
        """Prometheus exposition format 0.0.4."""
        lines = ["# TYPE router_requests_total counter"]
        for app, counts in self.apps.items():
            lines += [
                f'router_requests_total{{worker="{worker}",app="{app}",class="{n}xx"}} {counts.classes[n]}'
                for n in range(1, 6)
            ]
        lines += self._histogram(worker)
        for name, attribute in (
            ("failed_total", "failed"),
            ("client_gone_total", "gone"),
            ("sent_bytes_total", "sent_bytes"),
            ("connect_seconds_sum", "connect_s"),
            ("connect_seconds_count", "connects"),
        ):
            lines.append(f"# TYPE router_{name} counter")
            lines += [
                f'router_{name}{{worker="{worker}",app="{app}"}} {getattr(counts, attribute):g}'
                for app, counts in self.apps.items()
            ]
        lines.append("# TYPE router_backend_inflight gauge")
        lines += [
            f'router_backend_inflight{{worker="{worker}",backend="{b.id}",dyno="{b.dyno.decode()}"}} {b.inflight}'
            for b in backends
        ]
        for name, value in (("retries_total", self.retries), ("ejections_total", self.ejections)):
            lines += [f"# TYPE router_{name} counter", f'router_{name}{{worker="{worker}"}} {value}']
        return "\n".join(lines) + "\n"

    def _histogram(self, worker: int) -> list[str]:
        lines = ["# TYPE router_service_seconds histogram"]
        for app, counts in self.apps.items():
            labels = f'worker="{worker}",app="{app}"'
            total = 0
            for bound, value in zip((*BUCKETS_S, "+Inf"), counts.buckets, strict=True):
                total += value
                lines.append(f'router_service_seconds_bucket{{{labels},le="{bound}"}} {total}')
            lines.append(f"router_service_seconds_sum{{{labels}}} {counts.service_s:.6f}")
            lines.append(f"router_service_seconds_count{{{labels}}} {total}")
        return lines

"""A worker's counters as Prometheus text (exposition format 0.0.4), and the texts of several workers as one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from router.report.metrics import BUCKETS_S, AppCounts, Metrics
from router.rules.route import Backend

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})

_BY_APP: Final = (
    ("failed_total", "failed", "Answers that the router made up because no instance answered properly."),
    ("client_gone_total", "gone", "Requests whose client went away."),
    ("sent_bytes_total", "sent_bytes", "Bytes of response bodies."),
    ("received_bytes_total", "received_bytes", "Bytes of request bodies."),
)
_OF_WORKER: Final = (
    ("retries_total", "retries", "Requests that were given to an instance a second time."),
    ("ejections_total", "ejections", "Instances that sat out because they refused a connection."),
    ("health_failures_total", "health_failures", "Health checks that failed."),
    ("tls_handshakes_total", "tls_handshakes", "TLS handshakes that succeeded."),
    ("tls_resumptions_total", "tls_resumptions", "TLS handshakes that resumed a session."),
    ("tls_failures_total", "tls_failures", "TLS handshakes that failed."),
    ("h2_connections_total", "h2_connections", "Connections that spoke HTTP/2."),
    ("h2_streams_total", "h2_streams", "Requests that came over HTTP/2."),
    ("turned_away_total", "turned_away", "Connections refused because their client had too many."),
    ("given_up_total", "given_up", "Idle connections of clients closed because descriptors ran out."),
)


@dataclass
class WorkerState:
    """What the metrics show of a worker besides its counters. `now` is monotonic."""

    label: str
    metrics: Metrics
    backends: list[Backend]
    queues: dict[str, int]
    """Waiting requests by app, of the apps with a gate."""
    clients: int
    draining: bool
    generation: int
    log_lines_lost: int
    now: float


class _Text:
    """Families of samples, one after the other. Labels are given as text, because many samples share them."""

    def __init__(self, worker: str) -> None:
        self.lines: list[str] = []
        self.worker = f'worker="{worker}"'
        self._name = ""

    def family(self, name: str, kind: str, meaning: str) -> None:
        self._name = f"router_{name}"
        self.lines += [f"# HELP {self._name} {meaning}", f"# TYPE {self._name} {kind}"]

    def sample(self, labels: str, value: int | str, suffix: str = "") -> None:
        self.lines.append(f"{self._name}{suffix}{{{labels}}} {value}")

    def app(self, name: str) -> str:
        """The labels of an app."""
        return f'{self.worker},app="{name.translate(_ESCAPES)}"'


def render(worker: WorkerState) -> str:
    """All metrics of a worker."""
    text = _Text(worker.label)
    apps = [(text.app(name), counts) for name, counts in worker.metrics.apps.items()]
    text.family("requests_total", "counter", "Requests that are over, by class of status.")
    for labels, counts in apps:
        for name, count in counts.by_class().items():
            text.sample(f'{labels},class="{name}"', count)
    for name, attribute, meaning in _BY_APP:
        text.family(name, "counter", meaning)
        for labels, counts in apps:
            text.sample(labels, getattr(counts, attribute))
    _times(text, apps)
    _gauges(text, worker)
    for name, attribute, meaning in _OF_WORKER:
        text.family(name, "counter", meaning)
        text.sample(text.worker, getattr(worker.metrics, attribute))
    text.family("log_lines_lost_total", "counter", "Lines of the access log that could not be written.")
    text.sample(text.worker, worker.log_lines_lost)
    return "\n".join(text.lines) + "\n"


def _times(text: _Text, apps: list[tuple[str, AppCounts]]) -> None:
    text.family("service_seconds", "histogram", "From a request's head to the end of its answer.")
    bounds = [f',le="{bound}"' for bound in (*BUCKETS_S, "+Inf")]
    for labels, counts in apps:
        total = 0
        for bound, value in zip(bounds, counts.buckets, strict=True):
            total += value
            text.sample(labels + bound, total, "_bucket")
        text.sample(labels, f"{counts.service_s:.6f}", "_sum")
        text.sample(labels, total, "_count")
    text.family("connect_seconds", "summary", "Connecting to an instance, where no open connection was used.")
    for labels, counts in apps:
        text.sample(labels, f"{counts.connect_s:.6f}", "_sum")
        text.sample(labels, counts.connects, "_count")


def _gauges(text: _Text, worker: WorkerState) -> None:
    inflight = {b.app: 0 for b in worker.backends}
    backends = []
    for b in worker.backends:
        inflight[b.app] += b.inflight
        named = f'{text.app(b.app)},backend="{b.id.translate(_ESCAPES)}",dyno="{b.dyno.decode().translate(_ESCAPES)}"'
        backends.append((named, b))
    text.family("inflight", "gauge", "Requests that are at an instance.")
    for app, count in inflight.items():
        text.sample(text.app(app), count)
    text.family("queue", "gauge", "Requests that wait for the app, which has a limit or is paused.")
    for app, count in worker.queues.items():
        text.sample(text.app(app), count)
    text.family("backend_inflight", "gauge", "Requests that are at this instance.")
    for labels, b in backends:
        text.sample(labels, b.inflight)
    text.family("backend_up", "gauge", "1 while this instance takes requests.")
    for labels, b in backends:
        text.sample(labels, int(b.fit(worker.now)))
    text.family("clients", "gauge", "Open connections of clients.")
    text.sample(text.worker, worker.clients)
    text.family("draining", "gauge", "1 while this worker finishes what it has, to be replaced.")
    text.sample(text.worker, int(worker.draining))
    text.family("table_generation", "gauge", "Which table is in force.")
    text.sample(text.worker, worker.generation)


def merge(texts: Iterable[str]) -> str:
    """Merge the texts of several workers: each family's samples stand together, each sample once."""
    families: dict[str, dict[str, str]] = {}
    for text in texts:
        samples: dict[str, str] = {}
        for line in text.splitlines():
            if line.startswith("# "):
                samples = families.setdefault(line.split(" ", 3)[2], {})
                samples.setdefault(line.split(" ", 2)[1], line)
            elif line:
                samples.setdefault(line.rpartition(" ")[0], line)
    return "".join(f"{line}\n" for samples in families.values() for line in samples.values())

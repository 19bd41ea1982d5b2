"""A worker's counters as Prometheus text (exposition format 0.0.4), and the texts of several workers as one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from router.metrics import BUCKETS_S, AppCounts

if TYPE_CHECKING:
    from router.proxy import Proxy

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
)


class _Text:
    """Families of samples, one after the other; every sample bears the worker's label."""

    def __init__(self, worker: str) -> None:
        self.lines: list[str] = []
        self._worker = worker
        self._name = ""

    def family(self, name: str, kind: str, meaning: str) -> None:
        self._name = f"router_{name}"
        self.lines += [f"# HELP {self._name} {meaning}", f"# TYPE {self._name} {kind}"]

    def sample(self, value: float, suffix: str = "", **labels: str) -> None:
        pairs = {"worker": self._worker} | {name.rstrip("_"): text for name, text in labels.items()}
        shown = ",".join(f'{name}="{text.translate(_ESCAPES)}"' for name, text in pairs.items())
        number = str(value) if isinstance(value, int) else f"{value:.6f}"
        self.lines.append(f"{self._name}{suffix}{{{shown}}} {number}")


def render(proxy: Proxy) -> str:
    """All of a worker's metrics. One that drains has its process id in its label: its number is another's by then."""
    text = _Text(f"{proxy.worker}.{proxy.pid}" if proxy.draining else str(proxy.worker))
    apps = proxy.metrics.apps
    text.family("requests_total", "counter", "Requests that are over, by class of status.")
    for app, counts in apps.items():
        for name, count in counts.by_class().items():
            text.sample(count, app=app, class_=name)
    for name, attribute, meaning in _BY_APP:
        text.family(name, "counter", meaning)
        for app, counts in apps.items():
            text.sample(getattr(counts, attribute), app=app)
    _times(text, apps)
    _present(text, proxy)
    for name, attribute, meaning in _OF_WORKER:
        text.family(name, "counter", meaning)
        text.sample(getattr(proxy.metrics, attribute))
    text.family("log_lines_lost_total", "counter", "Lines of the access log that could not be written.")
    text.sample(proxy.access.lost)
    return "\n".join(text.lines) + "\n"


def _times(text: _Text, apps: dict[str, AppCounts]) -> None:
    text.family("service_seconds", "histogram", "From a request's head to the end of its answer.")
    for app, counts in apps.items():
        total = 0
        for bound, value in zip((*map(str, BUCKETS_S), "+Inf"), counts.buckets, strict=True):
            total += value
            text.sample(total, "_bucket", app=app, le=bound)
        text.sample(counts.service_s, "_sum", app=app)
        text.sample(total, "_count", app=app)
    text.family("connect_seconds", "summary", "Connecting to an instance, where no open connection was used.")
    for app, counts in apps.items():
        text.sample(counts.connect_s, "_sum", app=app)
        text.sample(counts.connects, "_count", app=app)


def _present(text: _Text, proxy: Proxy) -> None:
    """What is so at this moment."""
    backends = list(proxy.backends.values())
    inflight = dict.fromkeys((b.app for b in backends), 0)
    for backend in backends:
        inflight[backend.app] += backend.inflight
    text.family("inflight", "gauge", "Requests that are at an instance.")
    for app, count in inflight.items():
        text.sample(count, app=app)
    text.family("queue", "gauge", "Requests that wait for the app, which has a limit or is paused.")
    for app, gate in proxy.gates.items():
        text.sample(len(gate.waiting), app=app)
    text.family("backend_inflight", "gauge", "Requests that are at this instance.")
    for b in backends:
        text.sample(b.inflight, app=b.app, backend=b.id, dyno=b.dyno.decode())
    text.family("backend_up", "gauge", "1 while this instance takes requests.")
    for b in backends:
        text.sample(int(b.fit(proxy.loop.now)), app=b.app, backend=b.id, dyno=b.dyno.decode())
    text.family("clients", "gauge", "Open connections of clients.")
    text.sample(len(proxy.clients))
    text.family("draining", "gauge", "1 while this worker finishes what it has, to be replaced.")
    text.sample(int(proxy.draining))
    text.family("table_generation", "gauge", "Which table is in force.")
    text.sample(proxy.table.generation)


def merge(texts: Iterable[str]) -> str:
    """The texts of several workers as one: a family's samples together, each sample once."""
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

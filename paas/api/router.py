"""The counters of the router's workers: JSON about the caller's apps, Prometheus text for administrators."""

from __future__ import annotations

import time
from typing import Any

from flask import Blueprint, Response

from paas.api.access import Access, needs, principal
from paas.api.context import context
from paas.nouns.errors import Unavailable
from paas.routing import workers
from paas.store import apps
from router.report.entry import UNKNOWN
from router.report.exposition import CONTENT_TYPE, merge
from router.report.metrics import BUCKETS_S

routes = Blueprint("router", __name__)

_OF_ALL = ("worker", "number", "core", "generation", "draining")
_OF_ADMINS = (*_OF_ALL, "clients", "retries", "ejections", "health_failures")


@routes.get("/v1/router/stats")
@needs(Access.USER)
def stats() -> dict[str, Any]:
    """Counters since each worker began: of the caller's apps, for an administrator of all."""
    ctx, who = context(), principal()
    with ctx.store.read() as tx:
        own = {app.name for app in apps.all(tx) if who.may_touch(app)}
    answers = (workers.ask(path, "stats") for path in workers.sockets(ctx.layout.router_control))
    seen = own | {UNKNOWN} if who.is_admin else own
    facts = _OF_ADMINS if who.is_admin else _OF_ALL
    found = [_shown(answer, facts, seen) for answer in answers if answer is not None and answer.get("ok")]
    return {"at": time.time(), "bounds_s": list(BUCKETS_S), "workers": found}


def _shown(answer: dict[str, Any], facts: tuple[str, ...], seen: set[str]) -> dict[str, Any]:
    """A worker's answer, reduced to the apps in `seen`. The router faces the internet: its answer is checked, too."""
    shown: dict[str, Any] = {name: answer.get(name) for name in facts}
    requests, queues, backends = (_object(answer.get(name)) for name in ("requests", "queues", "backends"))
    shown["apps"] = {
        name: {
            **_numbers(counts),
            "buckets": _list(counts.get("buckets")),
            "waiting": _number(queues.get(name)),
        }
        for name, counts in requests.items()
        if isinstance(counts, dict) and name in seen
    }
    shown["backends"] = {
        id: {**_numbers(b), "app": str(b.get("app")), "dyno": str(b.get("dyno")), "up": b.get("up") is True}
        for id, b in backends.items()
        if isinstance(b, dict) and b.get("app") in seen
    }
    return shown


def _number(value: object) -> float:
    return value if isinstance(value, int | float) else 0


def _numbers(counts: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in counts.items() if isinstance(value, int | float)}


def _list(value: object) -> list[float]:
    return [_number(item) for item in value] if isinstance(value, list) else []


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


@routes.get("/v1/router/metrics")
@needs(Access.ADMIN)
def metrics() -> Response:
    """The metrics of all workers, for Prometheus."""
    paths = workers.sockets(context().layout.router_control)
    texts = [text for text in map(workers.metrics, paths) if text is not None]
    if not texts:
        raise Unavailable("No router worker answers.", "See: paas server:status")
    return Response(merge(texts), content_type=CONTENT_TYPE)

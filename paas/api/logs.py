"""Log lines of an app, and more as they come."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response

from paas.api.access import Access, needs, the_app
from paas.api.bodies import boolean, query, whole
from paas.api.context import context
from paas.api.streams import lasting, line_stream
from paas.logs import Follower, Query, stamp, tail
from paas.nouns.errors import BadInput
from paas.nouns.model import App
from paas.nouns.names import InstanceName, ProcessType, release_number, shown
from paas.nouns.units import read_duration
from paas.store import Tx, instances

routes = Blueprint("logs", __name__)

DEFAULT_LINES = 100
MAX_LINES = 10_000
_INTERVAL_S = 0.1


@routes.get("/v1/apps/<app_name>/logs")
@needs(Access.APP)
def show(app_name: str) -> Response:
    ctx, app = context(), the_app()
    filters = query(
        {
            "lines": whole(0, MAX_LINES),
            "type": ProcessType.parse,
            "dyno": InstanceName.parse,
            "source": _source,
            "since": since,
            "release": release_number,
            "request": _request_id,
            "follow": boolean,
        }
    )
    with ctx.store.read() as tx:
        wanted = _query(tx, app, filters)
    count = DEFAULT_LINES if filters["lines"] is None else filters["lines"]
    if not filters["follow"]:
        lines = _decoded(tail(ctx.layout, app.id, wanted, count))
        return Response(_ndjson(lines), mimetype="application/x-ndjson")

    def follow() -> Response:
        follower = Follower(ctx.layout, app.id, wanted)
        first = _decoded(follower.tail(count))
        return line_stream(lambda: _decoded(follower.poll()), first, interval_s=_INTERVAL_S)

    return lasting(follow)


def _query(tx: Tx, app: App, filters: dict[str, Any]) -> Query:
    ids = None
    if filters["release"] is not None:
        ids = frozenset(instances.ids_of_release(tx, app.id, filters["release"]))
    return Query(
        type=filters["type"],
        dyno=str(filters["dyno"]) if filters["dyno"] else None,
        source=filters["source"],
        since=filters["since"],
        request=filters["request"],
        instances=ids,
    )


def since(value: Any) -> str:
    """A time in the form of log lines, from `10m`, `2h`, or an ISO 8601 time (UTC unless it has a zone)."""
    if re.fullmatch(r"\d{1,6}[smhd]", value):
        return stamp(time.time() - (read_duration(value) or 0))
    try:
        at = datetime.fromisoformat(value)
        return stamp((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError, OSError):
        raise BadInput(
            f"{shown(value)} is not a time.", "It must be like 10m, 2h or 2026-08-04T21:53:15."
        ) from None


def _source(value: Any) -> str:
    if value not in ("app", "paas", "router", "api"):
        raise BadInput(f"{shown(value)} is not a log source.", "It must be app, paas, router or api.")
    return str(value)


def _request_id(value: Any) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{8,200}", value):
        raise BadInput(f"{shown(value)} is not a request id.")
    return str(value)


def _decoded(lines: list[bytes]) -> list[str]:
    return [line.decode(errors="replace") for line in lines]


def _ndjson(lines: list[str]) -> bytes:
    return b"".join(json.dumps({"line": line}).encode() + b"\n" for line in lines)

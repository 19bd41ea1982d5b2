"""Events: administrators see all, other users those of their apps."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Blueprint

from paas.api.access import Access, needs, principal
from paas.api.bodies import MAX_SAFE_INTEGER, query, whole
from paas.api.context import context
from paas.store import apps, events

routes = Blueprint("events", __name__)


@routes.get("/v1/events")
@needs(Access.USER)
def list_events() -> dict[str, Any]:
    who = principal()
    wanted = query({"after": whole(0, MAX_SAFE_INTEGER), "limit": whole(1, 1000)})
    with context().store.read() as tx:
        mine = {app.id for app in apps.all(tx) if who.may_touch(app)}
        found = events.after(tx, wanted["after"] or 0, wanted["limit"] or 1000)
    return {"events": [asdict(event) for event in found if who.is_admin or event.app_id in mine]}

"""The canary: begin one, change its share, promote it, stop it."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from flask import Blueprint, Response

from paas.api.access import Access, needs, principal, the_app
from paas.api.bodies import body, whole
from paas.api.context import Context, context
from paas.api.releasing import deploy
from paas.api.streams import Cancelled, Emit, stream
from paas.front import workers
from paas.nouns.model import App, Canary
from paas.nouns.names import MAX_QUANTITY, release_number
from paas.release.canary import begin, come_up, follow, running
from paas.release.capacity import admitted
from paas.release.release import Change
from paas.store import Tx, apps, canaries, events, formations, instances

routes = Blueprint("canary", __name__)


@routes.get("/v1/apps/<app_name>/canary")
@needs(Access.APP)
def show(app_name: str) -> dict[str, Any]:
    app = the_app()
    with context().store.read() as tx:
        shown = _canary_json(tx, app, canaries.of_app(tx, app.id))
    return _counted(context(), shown)


@routes.post("/v1/apps/<app_name>/canary")
@needs(Access.APP)
def start(app_name: str) -> Response:
    """Begin a canary, or change the one that runs. One that does not come up at its beginning is ended."""
    where, app, who = context(), the_app(), principal()
    asked = body(
        optional={"release": release_number, "share": whole(0, 100), "quantity": whole(1, MAX_QUANTITY)}
    )
    since = time.time()
    with where.store.write() as tx:
        before = canaries.of_app(tx, app.id)
        number = asked["release"] or running(tx, app).release_number
        share, quantity = asked["share"], asked["quantity"]
        with admitted(tx, where.settings.memory_overcommit):
            canary = begin(tx, app, number, share=share, quantity=quantity, actor=who.name)
        seq = events.last(tx)
    where.poke()
    where.tell(app.id, f"Canary v{number}: {canary.share} % of the requests, by {who.name}")

    def work(emit: Emit, cancelled: Cancelled) -> dict[str, Any]:
        if before is None:
            tell = partial(where.tell, app.id)
            lines = come_up(where.store, where.poke, canary, since=since, tell=tell, cancelled=cancelled)
        elif canary.quantity > before.quantity:
            lines = follow(where.store, canary, since=since, cancelled=cancelled)
        else:
            lines = iter(())
        for line in lines:
            emit(line)
        applied = where.applied(seq)
        with where.store.read() as tx:
            return {**_canary_json(tx, app, canaries.of_app(tx, app.id)), "applied": applied}

    return stream(work)


@routes.post("/v1/apps/<app_name>/canary/promote")
@needs(Access.APP)
def promote(app_name: str) -> Response:
    """Deploy the canary's release: the canary goes on until that has switched."""
    where, app, who = context(), the_app(), principal()
    body()
    with where.store.read() as tx:
        number = running(tx, app).release_number
    return deploy(
        where,
        app,
        Change(rollback_to=number, promote=True),
        who=who.name,
        description=f"Promote canary v{number}",
        result=lambda tx, after: {"promoted": number},
    )


@routes.delete("/v1/apps/<app_name>/canary")
@needs(Access.APP)
def stop(app_name: str) -> dict[str, Any]:
    where, app, who = context(), the_app(), principal()
    with where.store.write() as tx:
        ended = running(tx, app)
        canaries.end(tx, app.id, actor=who.name, why="stopped")
        seq = events.last(tx)
    where.poke()
    where.tell(app.id, f"Canary v{ended.release_number} stopped by {who.name}")
    return {"stopped": ended.release_number, "release": app.release_number, "applied": where.applied(seq)}


def _canary_json(tx: Tx, app: App, canary: Canary | None) -> dict[str, Any]:
    """The canary, and what each side has: the share of the requests that it gets now, and its instances."""
    app = apps.by_id(tx, app.id) or app
    if canary is None:
        return {"canary": None, "sides": []}
    web = formations.of_app(tx, app.id).get("web")
    live = [i for i in instances.live_of(tx, app.id) if i.kind == "process" and i.type == "web"]
    up = [i for i in live if i.state == "up"]
    main = [i.runtime_id for i in up if not i.canary and i.release_number == app.release_number]
    beside = [i.runtime_id for i in up if i.canary and i.release_number == canary.release_number]
    share = canary.share if main and beside else 100 if beside else 0
    sides = [
        _side("serving", app.release_number, 100 - share, web.quantity if web else 0, main),
        _side("canary", canary.release_number, share, canary.quantity, beside),
    ]
    shown = {
        "release": canary.release_number,
        "share": canary.share,
        "quantity": canary.quantity,
        "created_at": canary.created_at,
    }
    return {"canary": shown, "sides": sides}


def _counted(where: Context, shown: dict[str, Any]) -> dict[str, Any]:
    """With the requests and errors of the instances that run, as the router's workers have counted them."""
    folder = where.layout.router_control
    told = [(workers.ask(path, "stats") or {}).get("backends") for path in workers.sockets(folder)]
    for side in shown["sides"]:
        own = [each.get(id) for each in told if isinstance(each, dict) for id in side["up"]]
        for what in ("requests", "errors"):
            counts = [one.get(what) for one in own if isinstance(one, dict)]
            side[what] = sum(count for count in counts if type(count) is int)
    return shown


def _side(role: str, release: int | None, share: int, wanted: int, up: list[str]) -> dict[str, Any]:
    return {"role": role, "release": release, "share": share, "quantity": wanted, "up": up}

"""The canary: begin one, change its share, promote it, stop it."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from flask import Blueprint, Response

from paas.api.access import Access, needs, principal, the_app
from paas.api.bodies import body, whole
from paas.api.context import Context, context
from paas.api.edit import edit
from paas.api.releasing import deploy
from paas.api.streams import Cancelled, Emit, stream
from paas.nouns.model import App, Canary
from paas.nouns.names import MAX_QUANTITY, release_number
from paas.release.canary import begin, come_up, follow, running
from paas.release.capacity import admitted
from paas.release.change import Promote
from paas.routing import workers
from paas.store import Tx, apps, canaries, formations, instances

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
    """Start a canary, or change the running one. A new canary that does not come up is ended."""
    ctx, app = context(), the_app()
    wanted = body(
        optional={"release": release_number, "share": whole(0, 100), "quantity": whole(1, MAX_QUANTITY)}
    )
    since = time.time()
    with edit(app) as change:
        before = canaries.of_app(change.tx, app.id)
        number = wanted["release"] or running(change.tx, app).release_number
        share, quantity = wanted["share"], wanted["quantity"]
        with admitted(change.tx, ctx.settings.memory_overcommit):
            canary = begin(change.tx, app, number, share=share, quantity=quantity, actor=change.actor)
        change.log(f"Canary v{number}: {canary.share} % of the requests, by {change.actor}")

    def work(emit: Emit, cancelled: Cancelled) -> dict[str, Any]:
        if before is None:
            tell = partial(ctx.log, app.id)
            lines = come_up(ctx, canary, since=since, tell=tell, cancelled=cancelled)
        elif canary.quantity > before.quantity:
            lines = follow(ctx, canary, since=since, cancelled=cancelled)
        else:
            lines = iter(())
        for line in lines:
            emit(line)
        applied = change.applied()
        with ctx.store.read() as tx:
            return {**_canary_json(tx, app, canaries.of_app(tx, app.id)), "applied": applied}

    return stream(work)


@routes.post("/v1/apps/<app_name>/canary/promote")
@needs(Access.APP)
def promote(app_name: str) -> Response:
    """Deploy the canary's release; the canary runs until the deployment has switched."""
    ctx, app, who = context(), the_app(), principal()
    body()
    with ctx.store.read() as tx:
        number = running(tx, app).release_number
    change = Promote(actor=who.name, description=f"Promote canary v{number}", to=number)
    return deploy(ctx, app, change, lambda tx, after: {"promoted": number})


@routes.delete("/v1/apps/<app_name>/canary")
@needs(Access.APP)
def stop(app_name: str) -> dict[str, Any]:
    app = the_app()
    with edit(app) as change:
        ended = running(change.tx, app)
        canaries.end(change.tx, app.id, actor=change.actor, why="stopped")
        change.log(f"Canary v{ended.release_number} stopped by {change.actor}")
    return {"stopped": ended.release_number, "release": app.release_number, "applied": change.applied()}


def _canary_json(tx: Tx, app: App, canary: Canary | None) -> dict[str, Any]:
    """The canary, and for each side its current share of the requests and its instances."""
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


def _counted(ctx: Context, shown: dict[str, Any]) -> dict[str, Any]:
    """Add the requests and errors of the running instances, as the router's workers have counted them."""
    folder = ctx.layout.router_control
    answers = [(workers.ask(path, "stats") or {}).get("backends") for path in workers.sockets(folder)]
    for side in shown["sides"]:
        own = [each.get(id) for each in answers if isinstance(each, dict) for id in side["up"]]
        for counter in ("requests", "errors"):
            counts = [one.get(counter) for one in own if isinstance(one, dict)]
            side[counter] = sum(count for count in counts if type(count) is int)
    return shown


def _side(role: str, release: int | None, share: int, wanted: int, up: list[str]) -> dict[str, Any]:
    return {"role": role, "release": release, "share": share, "quantity": wanted, "up": up}

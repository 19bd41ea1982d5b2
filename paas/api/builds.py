"""Settings of an app's builds; builds without a push."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from paas.api.access import Access, needs, principal, the_app
from paas.api.bodies import body, boolean, text
from paas.api.context import context
from paas.api.edit import edit
from paas.api.git import Gone
from paas.api.releases import show_build
from paas.api.streams import Cancelled, Emit, stream
from paas.build.turns import TURNS
from paas.nouns.buildsettings import DEFAULTS, changed
from paas.nouns.errors import BadInput, Conflict
from paas.nouns.names import shown
from paas.store import apps

routes = Blueprint("builds", __name__)


@routes.get("/v1/apps/<app_name>/builds/settings")
@needs(Access.APP)
def show_settings(app_name: str) -> dict[str, Any]:
    return {"settings": the_app().build_settings, "defaults": DEFAULTS}


@routes.patch("/v1/apps/<app_name>/builds/settings")
@needs(Access.APP)
def change_settings(app_name: str) -> dict[str, Any]:
    """The next build takes them; a build that has begun and the releases stay as they are."""
    app = the_app()
    given = body(optional=dict.fromkeys(DEFAULTS, text))
    changes = {name: value for name, value in given.items() if value is not None}
    with edit(app) as change:
        settings = changed(apps.get(change.tx, app.id).build_settings, changes)
        _check_builder(settings.get("builder"))
        apps.set_build_settings(change.tx, app.id, settings)
        change.record("builds.set", settings, f"Set {', '.join(changes)} for builds")
    return {"settings": settings, "defaults": DEFAULTS}


def _check_builder(name: str | None) -> None:
    from buildpacks.detect import BUILDPACKS

    known = [pack.name for pack in BUILDPACKS]
    if name not in (None, *known):
        raise BadInput(f"{shown(name)} is not a builder; there are auto, {', '.join(known)}.")


@routes.post("/v1/apps/<app_name>/builds")
@needs(Access.APP)
def build_again(app_name: str) -> Response:
    """Build the source of the serving release once more, and deploy it if asked to. Hanging up cancels."""
    from paas.release.pipeline import rebuild_request, run_push

    ctx, app, who = context(), the_app(), principal()
    deploy = body(required={"deploy": boolean})["deploy"]
    with ctx.store.read() as tx:
        request = rebuild_request(tx, app, who.name, deploy=deploy)

    def work(emit: Emit, cancelled: Cancelled) -> dict[str, Any]:
        return run_push(ctx, app, request, emit, Gone(ctx, app, cancelled)).to_json()

    return stream(work)


@routes.post("/v1/apps/<app_name>/builds/<int:number>/cancel")
@needs(Access.APP)
def cancel(app_name: str, number: int) -> dict[str, Any]:
    """End a build, whoever waits for it: the push or command that began it is told by whom it was cancelled."""
    app, who = the_app(), principal()
    body()
    build = show_build(app_name, number)
    if not TURNS.cancel(app.id, number, who.name):
        raise Conflict(f"Build {number} of {app.name} has ended: {build['status']}.", "See: paas builds")
    with edit(app) as change:
        change.record("builds.cancel", {"build": number}, f"Cancelled build {number}")
    return build

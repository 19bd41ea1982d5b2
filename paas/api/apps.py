"""Apps: list, create, show, change, destroy."""

from __future__ import annotations

import secrets
import time
from typing import Any

from flask import Blueprint

from paas.api.access import Access, needs, principal, the_app
from paas.api.bodies import body, text
from paas.api.context import Context, context
from paas.api.domains import host_names
from paas.api.edit import edit
from paas.api.people import first_administrator
from paas.api.shapes import app_json
from paas.build.platform import spawner_errors
from paas.nouns.errors import BadInput, Conflict, PaasError
from paas.nouns.model import App
from paas.nouns.names import AppName, BranchName
from paas.store import apps, certificates, events, routing

routes = Blueprint("apps", __name__)

MAX_APPS = 100
"""Apps that one member may have; the platform has user ids for about a thousand."""

_DESTROY_WAIT_S = 30.0
_ADJECTIVES = (
    "amber brave calm clear cool eager fair fresh glad grand kind lively noble proud quick quiet warm wise"
)
_THINGS = "bay brook cliff cloud creek dawn field forest harbor hill lake leaf meadow moon reef river snow star wave"


@routes.get("/v1/apps")
@needs(Access.USER)
def list_apps() -> dict[str, Any]:
    ctx, who = context(), principal()
    with ctx.store.read() as tx:
        seen = [app for app in apps.all(tx) if not app.destroying and who.may_touch(app)]
        return {"apps": [app_json(tx, app, ctx.settings) for app in seen]}


@routes.post("/v1/apps")
@needs(Access.USER)
def create() -> tuple[dict[str, Any], int]:
    ctx = context()
    data = body(optional={"name": AppName.parse})
    app = create_app(ctx, data["name"])
    with ctx.store.read() as tx:
        return app_json(tx, app, ctx.settings), 201


def create_app(ctx: Context, name: AppName | None) -> App:
    """A new app of the caller (root's: of the first administrator); with no name, one is made up. Raises Conflict."""
    who = principal()
    with ctx.store.write() as tx:
        while name is None:
            words = (
                secrets.choice(_ADJECTIVES.split()),
                secrets.choice(_THINGS.split()),
                secrets.token_hex(2),
            )
            name = AppName.parse("-".join(words))
            if apps.by_name(tx, name):
                name = None
        owner = who.user or first_administrator(tx)
        if not who.is_admin and apps.count_of(tx, owner.id if owner else None) >= MAX_APPS:
            raise Conflict(f"You have {MAX_APPS} apps already.", "Destroy one first: paas apps:destroy")
        app = apps.create(tx, name, owner.id if owner else None)
        events.add(tx, app.id, who.name, "app.create", {"name": name})
    try:
        with spawner_errors():
            ctx.spawner.create_app(app.id)
    except PaasError:
        with ctx.store.write() as tx:
            apps.delete(tx, app.id)
        raise
    ctx.poke()
    ctx.log(app.id, f"Create app by {who.name}")
    return app


@routes.get("/v1/apps/<app_name>")
@needs(Access.APP)
def show(app_name: str) -> dict[str, Any]:
    ctx = context()
    with ctx.store.read() as tx:
        return app_json(tx, the_app(), ctx.settings)


@routes.patch("/v1/apps/<app_name>")
@needs(Access.APP)
def update(app_name: str) -> dict[str, Any]:
    ctx, app = context(), the_app()
    data = body(optional={"name": AppName.parse, "deploy_branch": BranchName.parse})
    name, branch = data["name"], data["deploy_branch"]
    with edit(app) as change:
        tx = change.tx
        if name is not None:
            apps.rename(tx, app.id, name)
            routing.rename(tx, app.id, ctx.settings.app_host(app.name), ctx.settings.app_host(name))
            certificates.keep_only(tx, app.id, host_names(tx, apps.get(tx, app.id), ctx))
            change.record("app.rename", {"from": app.name, "to": name}, f"Rename {app.name} to {name}")
        if branch is not None:
            apps.set_branch(tx, app.id, branch)
            change.record("app.branch", {"branch": branch}, f"Deploy from branch {branch}")
        return app_json(tx, apps.get(tx, app.id), ctx.settings)


@routes.delete("/v1/apps/<app_name>")
@needs(Access.APP)
def destroy(app_name: str) -> dict[str, Any]:
    """Answers when everything of the app is gone, or after a while with `"destroyed": false`: the rest follows."""
    ctx, app = context(), the_app()
    if body(required={"confirm": text})["confirm"] != app.name:
        raise BadInput("The confirmation is not the name of the app.", f"Confirm with {app.name}.")
    with edit(app) as change:
        apps.set_destroying(change.tx, app.id)
        change.record("app.destroy", {"name": app.name})
    deadline = time.monotonic() + _DESTROY_WAIT_S
    while time.monotonic() < deadline:
        with ctx.store.read() as tx:
            if apps.by_id(tx, app.id) is None:
                return {"name": app.name, "destroyed": True}
        time.sleep(0.03)
    return {"name": app.name, "destroyed": False}

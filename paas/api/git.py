"""What the git daemon asks: an app's repository, and to deploy a commit."""

from __future__ import annotations

import time
from typing import Any

from flask import Blueprint, Response

from paas.api.access import Access, needs, principal, refuse_former_name, the_app
from paas.api.apps import create_app
from paas.api.bodies import body, boolean, raw_body, text, whole
from paas.api.context import Context, context
from paas.api.streams import Cancelled, Emit, stream
from paas.nouns.errors import NotFound
from paas.nouns.model import App
from paas.nouns.names import USUAL_BRANCHES, AppName
from paas.store import apps, deployments

routes = Blueprint("git", __name__)

_DESTROY_LOOK_S = 0.5
_MAX_NUMBER = 1 << 53


@routes.get("/v1/git")
@needs(Access.GIT)
def list_ids() -> dict[str, Any]:
    """The ids of every app that has a repository."""
    with context().store.read() as tx:
        return {"apps": [app.id for app in apps.all(tx)]}


@routes.get("/v1/git/<app_name>")
@needs(Access.GIT_APP)
def show(app_name: str) -> dict[str, Any]:
    return _repository(context(), the_app())


@routes.post("/v1/git/<app_name>")
@needs(Access.GIT_USER)
def create(app_name: str) -> tuple[dict[str, Any], int]:
    """Create the app at its first push, or find it if the user may touch it."""
    ctx, name = context(), AppName.parse(app_name)
    raw_body()
    with ctx.store.read() as tx:
        app = apps.by_name(tx, name)
        if app is None:
            refuse_former_name(tx, name)
    if app is not None and principal().may_touch(app):
        return _repository(ctx, app), 200
    return _repository(ctx, create_app(ctx, name)), 201


def _repository(ctx: Context, app: App) -> dict[str, Any]:
    from paas.release.resume import mark

    # an app that deploys main also takes a push to master, and the other way round
    others = USUAL_BRANCHES if app.deploy_branch in USUAL_BRANCHES else ()
    branches = (app.deploy_branch, *others)
    with ctx.store.read() as tx:
        live = deployments.pushed_commit(tx, app.id)
        newest = mark(tx, app.id)
    return {
        "id": app.id,
        "name": app.name,
        "branches": list(dict.fromkeys(branches)),
        "live_commit": live,
        "root": app.build_settings.get("root", ""),
        "last_deployment": newest.deployment,
        "last_release": newest.release,
    }


@routes.post("/v1/apps/<app_name>/pushes")
@needs(Access.GIT_APP)
def push(app_name: str) -> Response:
    """Build and deploy an exported tree. Hanging up before the commit point cancels.

    With `last_deployment` and `last_release`, as they were before the push: follow a push whose answer broke off.
    """
    from paas.release.pipeline import PushRequest, run_push
    from paas.release.resume import Mark, resume_push

    ctx, app, who = context(), the_app(), principal()
    given = body(required={"commit": text, "tree": text}, optional=_OPTIONAL)
    request = PushRequest.parse(given, who.name)
    since = None
    if given["last_deployment"] is not None:
        since = Mark(given["last_deployment"], given["last_release"] or 0)

    def work(emit: Emit, cancelled: Cancelled) -> dict[str, Any]:
        gone = Gone(ctx, app, cancelled)
        if since is None:
            result = run_push(ctx, app, request, emit, gone)
        else:
            result = resume_push(ctx, app, request, since, emit, gone)
        if gone.destroyed:
            raise NotFound("The app was destroyed meanwhile.")
        return result.to_json()

    return stream(work)


class Gone:
    """True once the client has hung up or the app is destroyed; the store is read every half second at most."""

    def __init__(self, ctx: Context, app: App, cancelled: Cancelled) -> None:
        self._ctx, self._app, self._cancelled = ctx, app, cancelled
        self._looked = time.monotonic()
        self.destroyed = False

    def __call__(self) -> bool:
        if not self.destroyed and time.monotonic() - self._looked > _DESTROY_LOOK_S:
            self._looked = time.monotonic()
            with self._ctx.store.read() as tx:
                app = apps.by_id(tx, self._app.id)
            self.destroyed = app is None or app.destroying
        return self.destroyed or self._cancelled()


_OPTIONAL = {
    "wait": boolean,
    "canary": whole(0, 100),
    "last_deployment": whole(0, _MAX_NUMBER),
    "last_release": whole(0, _MAX_NUMBER),
}

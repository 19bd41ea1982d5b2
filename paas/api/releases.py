"""Releases, rollback, builds."""

from __future__ import annotations

import os
from typing import Any

from flask import Blueprint, Response

from paas.api.access import Access, needs, principal, the_app
from paas.api.bodies import body, query, whole
from paas.api.context import context
from paas.api.releasing import deploy
from paas.api.shapes import build_json, release_json
from paas.build.turns import TURNS
from paas.nouns.errors import NotFound
from paas.nouns.names import release_number
from paas.release.change import Rollback, rollback_target
from paas.store import builds, configs, images, releases

routes = Blueprint("releases", __name__)

_MAX_OUTPUT_BYTES = 16 * 1024 * 1024


@routes.get("/v1/apps/<app_name>/releases")
@needs(Access.APP)
def list_releases(app_name: str) -> dict[str, Any]:
    app = the_app()
    limit = query({"limit": whole(1, 1000)})["limit"] or 20
    with context().store.read() as tx:
        shown = [release_json(release, app.release_number) for release in releases.of_app(tx, app.id, limit)]
    return {"releases": shown, "current": app.release_number}


@routes.get("/v1/apps/<app_name>/releases/<number>")
@needs(Access.APP)
def show(app_name: str, number: str) -> dict[str, Any]:
    app, wanted = the_app(), release_number(number)
    with context().store.read() as tx:
        release = releases.get(tx, app.id, wanted)
        if release is None and not releases.of_app(tx, app.id, 1):
            raise NotFound(
                f"Nothing has been deployed to {app.name} yet.", "Push it first: git push paas main"
            )
        if release is None:
            raise NotFound(f"{app.name} has no release v{wanted}.", "See: paas releases")
        image = images.of(tx, release)
        names = sorted(configs.get(tx, app.id, release.config_number))
    return {
        **release_json(release, app.release_number),
        "config_names": names,
        "limits": release.limits,
        "processes": image.processes if image else {},
        "layers": list(image.layers) if image else [],
        "size_bytes": image.size_bytes if image else None,
        "stack": image.stack if image else app.stack,
    }


@routes.post("/v1/apps/<app_name>/rollback")
@needs(Access.APP)
def rollback(app_name: str) -> Response:
    ctx, app, who = context(), the_app(), principal()
    wanted = body(optional={"to": release_number})["to"]
    with ctx.store.read() as tx:
        target = rollback_target(tx, app, wanted)
    change = Rollback(actor=who.name, description=f"Rollback to v{target.number}", to=target.number)
    return deploy(ctx, app, change, lambda tx, after: {"to": target.number})


@routes.get("/v1/apps/<app_name>/builds")
@needs(Access.APP)
def list_builds(app_name: str) -> dict[str, Any]:
    limit = query({"limit": whole(1, 1000)})["limit"] or 20
    app = the_app()
    with context().store.read() as tx:
        found = builds.of_app(tx, app.id, limit)
    return {"builds": [build_json(build, TURNS.waits_for(app.id, build.number)) for build in found]}


@routes.get("/v1/apps/<app_name>/builds/<int:number>")
@needs(Access.APP)
def show_build(app_name: str, number: int) -> dict[str, Any]:
    app = the_app()
    with context().store.read() as tx:
        build = builds.get(tx, app.id, number) if number < 2**31 else None
    if build is None:
        raise NotFound(f"{app.name} has no build {number}.", "See: paas builds")
    return build_json(build, TURNS.waits_for(app.id, number))


@routes.get("/v1/apps/<app_name>/builds/<int:number>/output")
@needs(Access.APP)
def output(app_name: str, number: int) -> Response:
    show_build(app_name, number)
    path = context().layout.builds / the_app().id / f"{number}.log"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        raise NotFound(f"The output of build {number} is no longer kept.") from None
    with open(fd, "rb") as file:
        text = file.read(_MAX_OUTPUT_BYTES)
    return Response(text, mimetype="text/plain")

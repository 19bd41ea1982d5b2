"""The Flask application."""

from __future__ import annotations

from flask import Flask, Response, g, request

from paas.api import (
    access,
    apps,
    builds,
    canary,
    certs,
    config,
    deploy,
    domains,
    errors,
    events,
    formation,
    git,
    hook_builds,
    hooks,
    images,
    instances,
    logs,
    people,
    releases,
    router,
    routing,
    runs,
    server,
    stacks,
)
from paas.api.bodies import MAX_BODY_BYTES
from paas.api.context import Context
from paas.api.limiter import limiter

_NOUNS = (
    apps, builds, canary, certs, config, deploy, domains, events, formation, git, hooks, images, instances, logs, people, releases, router,
    routing, runs, server, stacks,
)  # fmt: skip


def create_app(context: Context) -> Flask:
    """The application that serves `context`."""
    app = Flask("paas.api", static_folder=None, template_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False  # an address with too many is not one: no redirects, which are HTML
    app.extensions["paas"] = context
    app.extensions[hook_builds.EXTENSION] = hook_builds.HookBuilds(context)
    errors.register(app)
    for noun in _NOUNS:
        app.register_blueprint(noun.routes)
    app.before_request(lambda: _check(app))
    app.after_request(_headers)
    return app


def _check(app: Flask) -> None:
    view = app.view_functions.get(request.endpoint) if request.endpoint else None
    access.check_request(view, request.view_args or {})
    g.leave = limiter.acquire(access.principal())


def _headers(response: Response) -> Response:
    if (leave := g.pop("leave", None)) is not None:
        response.call_on_close(leave)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response

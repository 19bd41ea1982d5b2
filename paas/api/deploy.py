"""Deployments of what was not pushed: an archive in the body of the request."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from flask import Blueprint, Response

from paas.api.access import Access, needs, principal, the_app
from paas.api.bodies import query, received, text
from paas.api.context import context
from paas.api.git import Gone
from paas.api.streams import Cancelled, Emit, stream
from paas.nouns.text import one_line, quoted

routes = Blueprint("deploy", __name__)


@routes.post("/v1/apps/<app_name>/deploy/archive")
@needs(Access.APP)
def deploy_archive(app_name: str) -> Response:
    """Build and deploy the archive that is the body; `name` is what the release calls it. Hanging up cancels."""
    from paas.release.origin import fetched
    from paas.release.pipeline import PushRequest, run_push

    ctx, app, who = context(), the_app(), principal()
    name = quoted(one_line(query({"name": text})["name"] or "an archive"), 100)
    most = ctx.settings.push_limit_bytes
    file = received(ctx.layout.sources, most, "push_limit_bytes")

    def work(emit: Emit, cancelled: Cancelled) -> dict[str, Any]:
        gone = Gone(ctx, app, cancelled)
        with closing(file), fetched(ctx, app, {"archive": file.fileno()}, emit, gone) as source:
            request = PushRequest(source.commit, source.tree, who.name, origin=name)
            return run_push(ctx, app, request, emit, gone).to_json()

    return stream(work)

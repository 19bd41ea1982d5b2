"""Deployments of what was not pushed: an archive in the body of the request, a commit of a repository elsewhere."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from flask import Blueprint, Response

from paas.api.access import Access, needs, principal, the_app
from paas.api.bodies import body, query, received, text
from paas.api.context import context
from paas.api.git import Gone
from paas.api.streams import Cancelled, Emit, stream
from paas.nouns.remoteurl import RemoteRepository
from paas.nouns.text import one_line, quoted

routes = Blueprint("deploy", __name__)


@routes.post("/v1/apps/<app_name>/deploy/archive")
@needs(Access.APP)
def deploy_archive(app_name: str) -> Response:
    """Build and deploy the archive that is the body; `name` is what the release calls it. Hanging up cancels."""
    from paas.release.origin import RECEIVING, deploy_fetched

    ctx, app, who = context(), the_app(), principal()
    name = quoted(one_line(query({"name": text})["name"] or "an archive"), 100)
    most = ctx.settings.push_limit_bytes
    with RECEIVING.one(app.owner_id):
        file = received(ctx.layout.sources, most, "push_limit_bytes")

    def work(emit: Emit, cancelled: Cancelled) -> dict[str, Any]:
        with closing(file):
            what = {"archive": file.fileno()}
            return deploy_fetched(ctx, app, what, name, who.name, emit, Gone(ctx, app, cancelled)).to_json()

    return stream(work)


@routes.post("/v1/apps/<app_name>/deploy/git")
@needs(Access.APP)
def deploy_git(app_name: str) -> Response:
    """Build and deploy a commit of the repository at `url` (`https://host/path.git#ref`). Hanging up cancels."""
    from paas.release.origin import deploy_fetched

    ctx, app, who = context(), the_app(), principal()
    url = body(required={"url": text})["url"]
    remote = RemoteRepository.parse(url)

    def work(emit: Emit, cancelled: Cancelled) -> dict[str, Any]:
        gone = Gone(ctx, app, cancelled)
        emit(f"-----> Fetching {remote}")
        return deploy_fetched(ctx, app, {"url": url}, str(remote), who.name, emit, gone).to_json()

    return stream(work)

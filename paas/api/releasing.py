"""Every route that makes a release does this: open the deployment, stream it, end with its outcome."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Response

from paas.api.context import Context
from paas.api.shapes import release_json
from paas.api.streams import Cancelled, Emit, stream
from paas.nouns.errors import NotFound
from paas.nouns.model import App
from paas.release.change import Change
from paas.release.deployment import follow, open_deployment
from paas.store import Tx, apps, releases

Result = Callable[[Tx, App], dict[str, Any]]


def deploy(ctx: Context, app: App, change: Change, result: Result) -> Response:
    """Stream a deployment that ends with the release and what `result` adds. A client that hangs up cancels it."""

    def work(emit: Emit, cancelled: Cancelled) -> dict[str, Any]:
        release, deployment = open_deployment(
            ctx,
            app.id,
            change,
            on_wait=lambda sentence: emit(f"       Waiting: {sentence}"),
            cancelled=cancelled,
        )
        ctx.log(app.id, f"{change.description} by {change.actor}")
        ctx.log(app.id, f"Release v{release.number} created by {change.actor}")
        if deployment is not None:
            for line in follow(ctx, deployment.id, cancelled=cancelled):
                emit(line)
        with ctx.store.read() as tx:
            after, made = apps.by_id(tx, app.id), releases.get(tx, app.id, release.number)
            if after is None or made is None:
                raise NotFound("The app was destroyed meanwhile.")
            return {"release": release_json(made, after.release_number), **result(tx, after)}

    return stream(work)

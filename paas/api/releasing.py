"""What every route that makes a release does: open the deployment, stream it, tell the outcome."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Response

from paas.api.context import Context
from paas.api.shapes import release_json
from paas.api.streams import Cancelled, Emit, stream
from paas.nouns.errors import NotFound
from paas.nouns.model import App
from paas.release.deployment import follow, open_deployment
from paas.release.release import Change
from paas.store import Tx, apps, releases

Result = Callable[[Tx, App], dict[str, Any]]


def deploy(ctx: Context, app: App, change: Change, *, who: str, description: str, result: Result) -> Response:
    """Stream a deployment; its result is the release and what `result` adds. A client that hangs up cancels it."""

    def work(emit: Emit, cancelled: Cancelled) -> dict[str, Any]:
        release, deployment = open_deployment(
            ctx.store,
            ctx.poke,
            app.id,
            change,
            actor=who,
            description=description,
            on_wait=lambda sentence: emit(f"       Waiting: {sentence}"),
            cancelled=cancelled,
            overcommit=ctx.settings.memory_overcommit,
        )
        ctx.tell(app.id, f"{description} by {who}")
        ctx.tell(app.id, f"Release v{release.number} created by {who}")
        if deployment is not None:
            for line in follow(ctx.store, deployment.id, cancelled=cancelled, poke=ctx.poke):
                emit(line)
        with ctx.store.read() as tx:
            after, made = apps.by_id(tx, app.id), releases.get(tx, app.id, release.number)
            if after is None or made is None:
                raise NotFound("The app was destroyed meanwhile.")
            return {"release": release_json(made, after.release_number), **result(tx, after)}

    return stream(work)

"""What should run of an app, read from the rows of several nouns."""

from __future__ import annotations

from paas.nouns.model import App
from paas.runs.desired import Desired
from paas.store import canaries, formations, images, releases
from paas.store.database import Tx


def of_app(tx: Tx, app: App) -> Desired:
    release, canary = releases.serving(tx, app), canaries.of_app(tx, app.id)
    canary_release = releases.get(tx, app.id, canary.release_number) if canary else None
    return Desired(
        app=app,
        release=release,
        image=images.of(tx, release),
        formation=formations.of_app(tx, app.id),
        canary=canary,
        canary_release=canary_release,
        canary_image=images.of(tx, canary_release),
    )

"""What should run of an app, and what of, read from the rows of several nouns."""

from __future__ import annotations

from paas.nouns.model import App, Release
from paas.runs.desired import Desired
from paas.runs.specs import Origin
from paas.store import canaries, configs, formations, images, releases
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


def origin(tx: Tx, app: App, release: Release | None) -> Origin | None:
    """What a container of the release is made from; None when the release or its image is gone."""
    image = images.of(tx, release)
    return None if release is None or image is None else Origin(app, release, image, configs.of(tx, release))

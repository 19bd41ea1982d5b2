"""Rows as converge would have left them, for tests of the api without a loop."""

from __future__ import annotations

from typing import Any

from harness.api import Api
from harness.nouns import make_image
from harness.platform import wait_for
from paas.store import apps, deployments, images, releases


def app_of(api: Api, name: str) -> Any:
    with api.store.read() as tx:
        return apps.by_name(tx, name)


def deployed(api: Api, name: str, **processes: str) -> str:
    """Give the app a serving release, as converge would have; its id."""
    app = app_of(api, name)
    with api.store.write() as tx:
        image = make_image(
            app_id=app.id, digest="sha256:1", layers=("sha256:" + "a" * 64,), processes=processes
        )
        images.add(tx, image)
        release = releases.create(
            tx, app.id, image_digest=image.digest, config_number=0, limits={}, description="Deploy 1234567",
            commit="1" * 40, actor="ann",
        )  # fmt: skip
        _move(
            tx, deployments.create(tx, app.id, release_number=release.number, from_release=None, push=True).id
        )
    return str(app.id)


def _move(tx: Any, id: int, *states: str) -> None:
    for state in states or ("starting", "switching", "draining", "succeeded"):
        deployments.advance(tx, id, state)


def converge(api: Api, app_id: str, *states: str, lines: tuple[str, ...] = ()) -> None:
    """Wait for the deployment that the api opens, and move it as the loop would."""

    def found() -> Any:
        with api.store.read() as tx:
            return deployments.unfinished_of(tx, app_id)

    deployment = wait_for(found)
    with api.store.write() as tx:
        for line in lines:
            deployments.add_line(tx, deployment.id, line)
        _move(tx, deployment.id, *states)

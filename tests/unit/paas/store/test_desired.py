"""What should run of an app, gathered from its rows."""

from __future__ import annotations

from harness.nouns import make_image

from paas.nouns.model import App
from paas.store import Store, Tx, apps, canaries, deployments, desired, formations, images, releases


def serving(tx: Tx, app: App, digest: str, **processes: str) -> App:
    """The app with a new release of this image, which serves."""
    images.add(tx, make_image(app_id=app.id, digest=digest, processes=processes))
    release = releases.create(
        tx, app.id, image_digest=digest, config_number=0, limits={}, description="", commit=None, actor="me"
    )
    deployment = deployments.create(tx, app.id, release_number=release.number, from_release=None)
    for state in ("starting", "switching", "draining", "succeeded"):
        deployments.advance(tx, deployment.id, state)
    return apps.get(tx, app.id)


def test_nothing_should_run_of_an_app_without_a_release(store: Store, app: App) -> None:
    with store.write() as tx:
        formations.ensure(tx, app.id, "web", 2)
        wish = desired.of_app(tx, app)
    assert (wish.app, wish.release, wish.image, wish.canary, wish.canary_image) == (
        app,
        None,
        None,
        None,
        None,
    )
    assert wish.wanted(wish.image) == []


def test_the_serving_release_is_read_with_its_image_and_the_formation(store: Store, app: App) -> None:
    with store.write() as tx:
        serving(tx, app, "sha256:1", web="old")
        now = serving(tx, app, "sha256:2", web="new", worker="work")
        formations.set_quantity(tx, app.id, "web", 2)
        wish = desired.of_app(tx, now)
    assert wish.release is not None and wish.release.number == 2
    assert wish.image is not None and wish.image.processes == {"web": "new", "worker": "work"}
    assert wish.wanted(wish.image) == [("web", 1), ("web", 2)]
    assert (wish.canary, wish.canary_release, wish.canary_image) == (None, None, None)


def test_a_canary_brings_its_own_release_and_image(store: Store, app: App) -> None:
    with store.write() as tx:
        serving(tx, app, "sha256:1", web="old")
        now = serving(tx, app, "sha256:2", web="new")
        formations.set_quantity(tx, app.id, "web", 1)
        canaries.put(tx, app.id, 1, share=10, quantity=2)
        wish = desired.of_app(tx, now)
    assert wish.release is not None and wish.release.number == 2
    assert wish.canary_release is not None and wish.canary_release.number == 1
    assert wish.canary_image is not None and wish.canary_image.processes == {"web": "old"}
    assert wish.wanted_canary() == [("canary", 1), ("canary", 2)]

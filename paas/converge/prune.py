"""Deletes rows that nothing needs any more: old images, configurations, releases and events, ended instances."""

from __future__ import annotations

from dataclasses import dataclass

from paas.nouns.model import App, Build, Release
from paas.store import (
    Tx,
    apps,
    builds,
    canaries,
    configs,
    deployments,
    images,
    instances,
    layer_keys,
    releases,
)

KEEP_BUILDS = 50
KEEP_INSTANCES = 200
KEEP_DEPLOYMENTS = 50
KEEP_RELEASES = 500
KEEP_EVENTS = 2000
"""The newest of each app stay. Events that belong to no app, or to a destroyed one, count as those of one app."""

IMAGE_AGE_S = 3600.0
"""A built image without a release is a push that waits for its turn, or one that failed."""


@dataclass(frozen=True)
class Pruned:
    """Deleted rows whose files must go too: digests of images, numbers of builds."""

    images: list[str]
    builds: list[int]


def prune_app(tx: Tx, app_id: str, keep_releases: int, now: float) -> Pruned:
    """Delete an app's old rows."""
    app = apps.by_id(tx, app_id)
    if app is None:
        return Pruned([], [])
    made = builds.of_app(tx, app_id, 100_000)
    history = releases.of_app(tx, app_id, 1_000_000)
    canary = canaries.of_app(tx, app_id)
    kept = kept_releases(
        history, app.release_number, keep_releases, canary.release_number if canary else None
    )
    gone = [] if any(build.status == "running" for build in made) else _forget_images(
        tx, app, _images_of(kept) | awaited_images(history, made, now)
    )  # fmt: skip
    configs.prune(
        tx, app_id, {release.config_number for release in (*kept, *history[: releases.CONFIGS_SHOWN])}
    )
    instances.prune(tx, app_id, KEEP_INSTANCES)
    deployments.prune(tx, app_id, KEEP_DEPLOYMENTS)
    releases.prune(tx, app_id, KEEP_RELEASES, {release.number for release in kept})
    old = [build.number for build in made[KEEP_BUILDS:] if build.status != "running"]
    for number in old:
        builds.delete(tx, app_id, number)
    return Pruned(gone, old)


def kept_releases(
    history: list[Release], serving: int | None, keep: int, canary: int | None = None
) -> list[Release]:
    """The last `keep` succeeded releases with an image (newest first), the serving one, the canary, and unfinished
    ones. Pure."""
    succeeded = [r for r in history if r.state == "succeeded" and r.image_digest is not None]
    return succeeded[:keep] + [r for r in history if r.state == "pending" or r.number in (serving, canary)]


def awaited_images(history: list[Release], made: list[Build], now: float) -> set[str]:
    """Digests of the newest image, whose layers the next push reuses even if its release failed, and of recent builds
    without a release: pushes on their way. `made` is newest first. Pure."""
    built = [(build, build.image_digest) for build in made if build.image_digest is not None]
    return {digest for _, digest in built[:1]} | {
        digest
        for build, digest in built
        if now - (build.finished_at or now) < IMAGE_AGE_S
        and not any(r.image_digest == digest and r.created_at >= build.started_at for r in history)
    }


def forget_layers(tx: Tx, leaving: set[tuple[str, str]]) -> None:
    """Delete the keys of layers that only the leaving images (app, digest) use, so that the layers are collected too."""
    own: set[str] = set()
    others: set[str] = set()
    for image in images.all(tx):
        (own if (image.app_id, image.digest) in leaving else others).update(image.layers)
    own -= others
    for key in layer_keys.all(tx):
        if key.digest in own:
            layer_keys.delete(tx, key.key)


def _images_of(kept: list[Release]) -> set[str]:
    return {release.image_digest for release in kept if release.image_digest is not None}


def _forget_images(tx: Tx, app: App, kept: set[str]) -> list[str]:
    gone = [image.digest for image in images.of_app(tx, app.id) if image.digest not in kept]
    forget_layers(tx, {(app.id, digest) for digest in gone})
    for digest in gone:
        releases.forget_image(tx, app.id, digest)
        images.delete(tx, app.id, digest)
    return gone

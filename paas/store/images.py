"""Rows of `image`."""

from __future__ import annotations

from paas.nouns.model import Image, Release
from paas.store.database import Tx, now
from paas.store.table import Table

IMAGES = Table("image", Image, json=("layers", "env", "processes", "manifest"))


def add(tx: Tx, image: Image) -> None:
    """Add the image, or renew its data when the same manifest was built before."""
    IMAGES.insert(
        tx,
        {**vars(image), "created_at": now()},
        conflict="ON CONFLICT (app_id, digest) DO UPDATE SET layers = excluded.layers, env = excluded.env,"
        " processes = excluded.processes, manifest = excluded.manifest, stack = excluded.stack,"
        " size_bytes = excluded.size_bytes, created_at = excluded.created_at",
    )


def get(tx: Tx, app_id: str, digest: str) -> Image | None:
    return IMAGES.find(tx, app_id=app_id, digest=digest)


def of(tx: Tx, release: Release | None) -> Image | None:
    """What the release runs; None before the first push, and when the image is no longer kept."""
    if release is None or release.image_digest is None:
        return None
    return get(tx, release.app_id, release.image_digest)


def of_app(tx: Tx, app_id: str) -> list[Image]:
    """Newest first."""
    return IMAGES.select(tx, "WHERE app_id = ? ORDER BY created_at DESC", (app_id,))


def all(tx: Tx) -> list[Image]:
    return IMAGES.select(tx, "")


def delete(tx: Tx, app_id: str, digest: str) -> None:
    """Raises apsw.ConstraintError when a release still names the image."""
    IMAGES.delete(tx, app_id=app_id, digest=digest)

"""Rows of `image`."""

from __future__ import annotations

import json
from typing import Any

from paas.nouns.model import Image, Release
from paas.store.database import Tx, now

_COLUMNS = "app_id, digest, layers, env, processes, manifest, stack, size_bytes"


def _image(row: tuple[Any, ...]) -> Image:
    layers, env, processes, manifest = (json.loads(text) for text in row[2:6])
    return Image(row[0], row[1], tuple(layers), env, processes, manifest, row[6], row[7])


def add(tx: Tx, image: Image) -> None:
    """Add the image, or renew its data when the same manifest was built before."""
    tx.execute(
        "INSERT INTO image (app_id, digest, layers, env, processes, manifest, stack, size_bytes, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (app_id, digest) DO UPDATE SET"
        " layers = excluded.layers, env = excluded.env, processes = excluded.processes,"
        " manifest = excluded.manifest, stack = excluded.stack, size_bytes = excluded.size_bytes,"
        " created_at = excluded.created_at",
        (
            image.app_id,
            image.digest,
            json.dumps(image.layers),
            json.dumps(image.env),
            json.dumps(image.processes),
            json.dumps(image.manifest),
            image.stack,
            image.size_bytes,
            now(),
        ),
    )


def get(tx: Tx, app_id: str, digest: str) -> Image | None:
    row = tx.execute(
        f"SELECT {_COLUMNS} FROM image WHERE app_id = ? AND digest = ?", (app_id, digest)
    ).fetchone()
    return _image(row) if row else None


def of(tx: Tx, release: Release | None) -> Image | None:
    """What the release runs; None before the first push, and when the image is no longer kept."""
    if release is None or release.image_digest is None:
        return None
    return get(tx, release.app_id, release.image_digest)


def of_app(tx: Tx, app_id: str) -> list[Image]:
    """Newest first."""
    return [
        _image(row)
        for row in tx.execute(
            f"SELECT {_COLUMNS} FROM image WHERE app_id = ? ORDER BY created_at DESC", (app_id,)
        )
    ]


def all(tx: Tx) -> list[Image]:
    return [_image(row) for row in tx.execute(f"SELECT {_COLUMNS} FROM image")]


def delete(tx: Tx, app_id: str, digest: str) -> None:
    """Raises apsw.ConstraintError when a release still names the image."""
    tx.execute("DELETE FROM image WHERE app_id = ? AND digest = ?", (app_id, digest))

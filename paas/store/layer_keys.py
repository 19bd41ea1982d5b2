"""Rows of `layer_key`: which dependency layer came out of which inputs."""

from __future__ import annotations

from paas.nouns.model import LayerKey
from paas.store.database import Tx, now
from paas.store.table import Table

LAYER_KEYS = Table("layer_key", LayerKey)


def get(tx: Tx, key: str) -> LayerKey | None:
    return LAYER_KEYS.find(tx, key=key)


def put(tx: Tx, key: str, digest: str, size_bytes: int) -> None:
    """Remember the layer."""
    LAYER_KEYS.insert(
        tx,
        vars(LayerKey(key, digest, size_bytes, now())),
        conflict="ON CONFLICT (key) DO UPDATE SET digest = excluded.digest, size_bytes = excluded.size_bytes,"
        " used_at = excluded.used_at",
    )


def used(tx: Tx, key: str) -> None:
    """Note that a build uses the layer again, if it is still remembered."""
    tx.execute("UPDATE layer_key SET used_at = ? WHERE key = ?", (now(), key))


def all(tx: Tx) -> list[LayerKey]:
    """Least recently used first."""
    return LAYER_KEYS.select(tx, "ORDER BY used_at")


def delete(tx: Tx, key: str) -> None:
    LAYER_KEYS.delete(tx, key=key)

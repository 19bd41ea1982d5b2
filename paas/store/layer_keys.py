"""Rows of `layer_key`: which dependency layer came out of which inputs."""

from __future__ import annotations

from paas.nouns.model import LayerKey
from paas.store.database import Tx, now


def get(tx: Tx, key: str) -> LayerKey | None:
    row = tx.execute(
        "SELECT key, digest, size_bytes, used_at FROM layer_key WHERE key = ?", (key,)
    ).fetchone()
    return LayerKey(*row) if row else None


def put(tx: Tx, key: str, digest: str, size_bytes: int) -> None:
    """Remember the layer."""
    tx.execute(
        "INSERT INTO layer_key (key, digest, size_bytes, used_at) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (key) DO UPDATE SET digest = excluded.digest, size_bytes = excluded.size_bytes,"
        " used_at = excluded.used_at",
        (key, digest, size_bytes, now()),
    )


def used(tx: Tx, key: str) -> None:
    """Note that a build uses the layer again, if it is still remembered."""
    tx.execute("UPDATE layer_key SET used_at = ? WHERE key = ?", (now(), key))


def all(tx: Tx) -> list[LayerKey]:
    """Least recently used first."""
    return [
        LayerKey(*row)
        for row in tx.execute("SELECT key, digest, size_bytes, used_at FROM layer_key ORDER BY used_at")
    ]


def delete(tx: Tx, key: str) -> None:
    tx.execute("DELETE FROM layer_key WHERE key = ?", (key,))

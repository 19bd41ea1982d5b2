"""Layers that were made before and are still there, by the key of what they were made from."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from paas.build.platform import Platform
from paas.build.step import MadeLayer
from paas.nouns.model import LayerKey
from paas.nouns.units import DAY_S
from paas.store import layer_keys

RENEW_S = float(DAY_S)
"""How old the note of a layer's last use may become before a use is noted again."""


def kept_layer(platform: Platform, key: str, apart: Sequence[str] = ()) -> MadeLayer | None:
    """The layer made for this key, and those of the folders `apart`, if their rows and blobs all exist and stay."""
    layers = [_kept(platform, one) for one in (key, *(f"{key} {folder}" for folder in apart))]
    found = [layer for layer in layers if layer is not None]
    return replace(found[0], apart=tuple(found[1:])) if len(found) == len(layers) else None


def _kept(platform: Platform, key: str) -> MadeLayer | None:
    row = _row(platform, key)
    if row is None or (row.digest and not _present(platform, row.digest)):
        return None
    row = _row(platform, key)  # a clean-up that had forgotten it by now removes the layer
    if row is not None and row.used_at < time.time() - RENEW_S:
        with platform.store.write() as tx:
            layer_keys.used(tx, key)
    return None if row is None else MadeLayer(row.digest, row.size_bytes, 0)


def keep_layer(platform: Platform, key: str, made: MadeLayer, apart: Sequence[str] = ()) -> None:
    with platform.store.write() as tx:
        layer_keys.put(tx, key, made.digest, made.size_bytes)
        for folder, layer in zip(apart, made.apart, strict=True):
            layer_keys.put(tx, f"{key} {folder}", layer.digest, layer.size_bytes)


def _row(platform: Platform, key: str) -> LayerKey | None:
    with platform.store.read() as tx:
        return layer_keys.get(tx, key)


def _present(platform: Platform, digest: str) -> bool:
    """Whether the layer's blob exists. Its time is renewed, so that no clean-up takes it for old."""
    blob = platform.layout.images / "blobs" / "sha256" / digest.removeprefix("sha256:")
    if not blob.exists():
        return False
    with suppress(OSError):
        os.utime(blob)
    return True

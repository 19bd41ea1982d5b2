"""Compressed blobs made ahead: once a release serves, what `image:push` would have to compress, for apps that were pushed before.

A process of its own makes them at idle priority, one at a time; a push that comes sooner makes its own.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from paas.nouns.model import Image
from paas.store import Store, apps, images, releases
from runtime.home import Layout
from runtime.image.ocilayout import ImageStore
from runtime.image.packed import KINDS, noted

Noted = Callable[[str], bool]
_AGAIN_S = 6 * 3600.0
"""A layer of which no blob could be made is tried again after this time."""


def due(serving: Image, others: Sequence[Image], noted: Noted) -> list[str]:
    """The layers of the serving image without a note, if another image of the app was pushed: then it has notes of all. Pure."""
    missing = [layer for layer in serving.layers if not noted(layer)]
    pushed = any(all(map(noted, other.layers)) for other in others if other.digest != serving.digest)
    return missing if pushed else []


class Packing:
    """Starts the process; `step` neither waits nor fails for it."""

    def __init__(self, store: Store, layout: Layout) -> None:
        self._store, self._layout = store, layout
        self._process: subprocess.Popen[bytes] | None = None
        self._tried: dict[tuple[str, str], float] = {}

    def step(self) -> None:
        """Start what is due, unless the last one still runs. Raises OSError."""
        if self._process is not None and self._process.poll() is None:
            return
        self._process = None
        now = time.monotonic()
        self._tried = {layer: since for layer, since in self._tried.items() if now < since + _AGAIN_S}
        for kind in KINDS:
            if layers := [layer for layer in self._due(kind) if (kind, layer) not in self._tried]:
                self._tried |= dict.fromkeys(((kind, layer) for layer in layers), now)
                words = (str(self._layout.images), str(self._layout.stacks), kind, *layers)
                command = [sys.executable, "-P", "-m", "runtime.image.packed", *words]
                self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
                return

    def _due(self, kind: str) -> list[str]:
        if not (self._layout.images / kind).is_dir():
            return []
        store = ImageStore(self._layout.images, self._layout.stacks)

        def is_noted(digest: str) -> bool:
            return noted(store, digest, kind) is not None

        with self._store.read() as tx:
            rows = [
                (images.of(tx, releases.serving(tx, app)), images.of_app(tx, app.id)) for app in apps.all(tx)
            ]
        found = [layer for image, all_of in rows if image for layer in due(image, all_of, is_noted)]
        return list(dict.fromkeys(found))

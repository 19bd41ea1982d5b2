"""An image from elsewhere, from a registry or an archive, into the platform's store: each layer once, unpacked by the spawner.

A layer that is here already is not asked for: one of a stack, one of the app's own images, one that the app has pulled
before. What only other apps have is read again, since to know a digest is not to hold the layer.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, Protocol

from paas.build.disk import refuse_full_disk
from paas.build.foreign import FILES, Foreign, read_config
from paas.build.kept import keep_layer, kept_layer
from paas.build.layerfiles import KnownLayers
from paas.build.platform import Platform
from paas.build.step import MadeLayer, spawner_failure
from paas.nouns.errors import BuildFailed, Cancelled, Unavailable
from paas.nouns.model import App, Image
from paas.nouns.units import shown_memory, shown_size
from paas.store import images
from runtime.client import SpawnerError
from runtime.image.distribution import Blob, Manifest
from runtime.image.exchange import MAX_JSON
from runtime.image.imagearchive import json_of
from runtime.image.ocilayout import ARCHITECTURE, EPOCH, ImageStore
from runtime.image.portable import ANNOTATION
from runtime.kernel import files
from runtime.stack import build as stacks

MOST_LAYERS = 100
"""An instance has at most 120 layers; an app that is built upon an image adds some."""
MOST_BYTES = 8 * 1024**3
_TRIES = 3
_KNOWN = KnownLayers(FILES)
PREFIX = "image-"
"""What begins the names of archives below `sources` that are being unpacked."""


class Source(Protocol):
    """A registry's repository, or an archive."""

    def read_manifest(self, name: str, architecture: str) -> tuple[str, Manifest]: ...

    def read_blob(self, blob: Blob, write: Callable[[bytes], object]) -> None: ...


@dataclass(frozen=True)
class Pulled:
    """`digest` is the manifest's where it came from; `config` as it came; `layers` are ours, lowest first, one for each that
    the configuration names, empty for an empty one."""

    digest: str
    config: dict[str, Any]
    layers: tuple[str, ...]

    @property
    def stacked(self) -> tuple[str, ...]:
        """The layers that an instance gets: of one that is there twice the upper."""
        return tuple(dict.fromkeys(reversed([layer for layer in self.layers if layer])))[::-1]


@dataclass(frozen=True)
class Found:
    """An image of which nothing but its description has been read."""

    digest: str
    manifest: Manifest
    config: dict[str, Any]


@dataclass(frozen=True)
class Pull:
    """One pull for an app: what is asked, who is told, and whether anybody still waits."""

    platform: Platform
    app: App
    source: Source
    say: Callable[[str], None]
    cancelled: Callable[[], bool]

    def run(self, name: str) -> Pulled:
        """Raises ImageError, BuildFailed, Cancelled, Unavailable."""
        return self.fetch(self.find(name))

    def find(self, name: str) -> Found:
        """Read what the image says of itself. Raises ImageError, BuildFailed."""
        digest, manifest = self.source.read_manifest(name, ARCHITECTURE)
        _check(manifest)
        return Found(digest, manifest, self._config(manifest))

    def fetch(self, found: Found) -> Pulled:
        """Its layers, those that are not here. Raises ImageError, BuildFailed, Cancelled, Unavailable."""
        diff_ids = _diff_ids(found.config, len(found.manifest.layers))
        known = self._known()
        layers, written = [], 0
        for blob, diff_id in zip(found.manifest.layers, diff_ids, strict=True):
            if self.cancelled():
                raise Cancelled("The pull was cancelled.", cause="cancelled")
            made = MadeLayer(diff_id, 0, 0) if diff_id in known else self._layer(blob)
            layers.append(made.digest)
            self._count(written := written + made.size_bytes)
        return Pulled(found.digest, found.config, tuple(layers))

    def _config(self, manifest: Manifest) -> dict[str, Any]:
        data = bytearray()
        self.source.read_blob(manifest.config, data.extend)
        config = json_of(bytes(data), "the image's configuration")
        config = config if isinstance(config, dict) else {}
        made_for = f"{config.get('os', 'linux')}/{config.get('architecture', ARCHITECTURE)}"
        if made_for != f"linux/{ARCHITECTURE}":
            raise BuildFailed(
                f"The image is made for {made_for[:60]}, this machine is linux/{ARCHITECTURE}.",
                f"Build it for this machine: docker build --platform linux/{ARCHITECTURE} …",
                cause="bad image",
            )
        return config

    def _known(self) -> set[str]:
        """Layers by the digests of their plain tars: those of stacks, and those of the app's own images."""
        layout = self.platform.layout
        found = {digest for stack in stacks.load_all(layout.stacks) for digest in stack.build}
        with self.platform.store.read() as tx:
            return found.union(*(image.layers for image in images.of_app(tx, self.app.id)))

    def _count(self, written: int) -> None:
        most = self.platform.settings.builds_disk_bytes
        if written > most:
            raise BuildFailed(
                f"The image's layers unpack to more than {shown_memory(most)}.",
                "Take a smaller one; the operator's limit is builds.disk_bytes.",
                cause="too large",
            )

    def _layer(self, blob: Blob) -> MadeLayer:
        key = hashlib.sha256(json.dumps(["pulled", self.app.id, blob.digest]).encode()).hexdigest()
        for _ in range(_TRIES):  # a clean-up that came before its row may have taken a layer
            if made := kept_layer(self.platform, key):
                return made
            self.say(f"{blob.digest[:19]}… {shown_size(blob.size)}")
            keep_layer(self.platform, key, self._unpacked(blob))
        raise Unavailable("A layer of the image is removed as soon as it is made.", "Try again in a moment.")

    def _unpacked(self, blob: Blob) -> MadeLayer:
        path = self.platform.layout.sources / f"{PREFIX}{os.urandom(8).hex()}.tar"
        try:
            with open(files.lock(path), "wb") as file:  # what nobody locks is left over
                self.source.read_blob(blob, partial(self._write, file))
                file.flush()
                try:
                    made = self.platform.spawner.unpack(path.name, image=True)
                except (SpawnerError, OSError) as error:
                    raise spawner_failure(error) from error
        finally:
            path.unlink(missing_ok=True)
        return MadeLayer(made.digest or "", made.size_bytes, made.files)

    def _write(self, file: BinaryIO, piece: bytes) -> None:
        refuse_full_disk(self.platform)
        file.write(piece)


def _check(manifest: Manifest) -> None:
    """Refuse what would be too much, or could not be read, before anything is fetched."""
    size = sum(blob.size for blob in manifest.layers)
    if len(manifest.layers) > MOST_LAYERS or size > MOST_BYTES or manifest.config.size > MAX_JSON:
        raise BuildFailed(
            f"The image has {len(manifest.layers)} layers of {shown_size(size)}; at most {MOST_LAYERS} of"
            f" {shown_size(MOST_BYTES)} are taken.",
            "Build a smaller one.",
            cause="too large",
        )


def _diff_ids(config: dict[str, Any], count: int) -> list[str]:
    rootfs = config.get("rootfs")
    found = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(found, list) or len(found) != count:
        raise BuildFailed(
            "The image's configuration names other layers than its manifest.", cause="bad image"
        )
    return [str(digest) for digest in found]


def stored_image(
    platform: Platform, app: App, pulled: Pulled, more: Mapping[str, Any] | None = None
) -> tuple[Image, Foreign]:
    """Write the image and its row, of which `more` goes into the manifest. One that the platform built and pushed is the
    same image again.

    Raises BuildFailed, BadInput, NotFound, ImageError.
    """
    store = ImageStore(platform.layout.images, platform.layout.stacks)

    sizes = [store.size(layer) for layer in pulled.stacked]
    if not sizes:
        raise BuildFailed("The image has no files.", cause="bad image")
    found = read_config(pulled.config, lambda: _KNOWN.read(pulled.stacked, store.open))
    digest = store.write_config(pulled.stacked, _kept_config(pulled, ours=bool(found.language)))
    manifest = {**(more or {}), **found.manifest}
    image = Image(app.id, digest, pulled.stacked, found.env, found.processes, manifest, app.stack, sum(sizes))
    with platform.store.write() as tx:
        images.add(tx, image)
    return image, found


def _kept_config(pulled: Pulled, *, ours: bool) -> dict[str, Any]:
    """The configuration without what a push of ours added, and without a history that tells of other layers."""
    config = dict(pulled.config)
    history = config.get("history")
    made = [item for item in history if isinstance(item, dict)] if isinstance(history, list) else []
    if sum(not item.get("empty_layer") for item in made) != len(pulled.stacked):
        config.pop("history", None)
    else:
        config["history"] = made
    if ours:
        labels = config["config"]["Labels"]
        kept = {name: text for name, text in labels.items() if not name.startswith(ANNOTATION)}
        config |= {"created": EPOCH, "config": {**config["config"], "Labels": kept}}
    return config

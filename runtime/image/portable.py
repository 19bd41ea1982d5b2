"""An image on its way to others: with labels of its release, as an archive or in a registry.

Needs no privilege: blobs are streams of bytes that are copied, compressed and hashed. An archive has plain tars,
which costs no time; in a registry they are gzip, which every client reads, or zstd.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO

from runtime.image.distribution import Blob, Manifest, config_blob
from runtime.image.names import digest_hex
from runtime.image.ocilayout import INDEX, LAYER, MANIFEST, REF_NAME, ImageStore
from runtime.image.packed import noted, packed
from runtime.image.registry import Registry
from runtime.image.tarwriter import BLOCK, LAYER_MTIME, REGULAR, headers

ANNOTATION = "org.opencontainers.image."
_PIECE = 1024 * 1024


@dataclass(frozen=True)
class Portable:
    """An image with its labels. `layers` are the plain tars in `store`, lowest first."""

    store: ImageStore
    config: bytes
    layers: tuple[Blob, ...]

    def config_blob(self) -> Blob:
        return config_blob(f"sha256:{hashlib.sha256(self.config).hexdigest()}", len(self.config))


def portable(store: ImageStore, digest: str, labels: Mapping[str, str], created: str) -> Portable:
    """The image `digest` with more labels, made at `created` (RFC 3339). Raises NotFound, Damaged."""
    image = store.read(digest)
    settings = {**image.config["config"], "Labels": {**image.config["config"].get("Labels", {}), **labels}}
    config = {**image.config, "created": created, "config": settings}
    layers = tuple(Blob(LAYER, layer, store.size(layer)) for layer in image.layers)
    return Portable(store, json.dumps(config, sort_keys=True, separators=(",", ":")).encode(), layers)


# An archive


def archive(image: Portable, name: str) -> tuple[int, Iterator[bytes]]:
    """A tar that is an OCI layout and what `docker load` reads, both of the same blobs: its size, and its pieces.

    Every blob is open when this returns, so that a clean-up meanwhile harms nothing. Raises NotFound.
    """
    config = image.config_blob()
    manifest = Manifest(config, image.layers).encoded()
    digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    entry = {"mediaType": MANIFEST, "digest": digest, "size": len(manifest), "annotations": {REF_NAME: name}}
    docker = {
        "Config": _path(config.digest),
        "RepoTags": [name],
        "Layers": [_path(one.digest) for one in image.layers],
    }
    members: list[tuple[str, int, bytes | BinaryIO]] = [
        (path, len(data), data)
        for path, data in (
            ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
            ("index.json", _json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]})),
            ("manifest.json", _json([docker])),
            (_path(digest), manifest),
            (_path(config.digest), image.config),
        )
    ]
    with ExitStack() as stack:
        for layer in dict.fromkeys(image.layers):
            members.append(
                (_path(layer.digest), layer.size, stack.enter_context(image.store.open(layer.digest)))
            )
        held = stack.pop_all()
    size = sum(BLOCK + length + -length % BLOCK for _, length, _ in members) + 2 * BLOCK
    return size, _members(members, held)


def _members(members: list[tuple[str, int, bytes | BinaryIO]], held: ExitStack) -> Iterator[bytes]:
    with held:
        for path, size, content in members:
            yield from headers(path.encode(), REGULAR, 0o644, size=size, owner=(0, 0), mtime=LAYER_MTIME)
            yield from (content,) if isinstance(content, bytes) else _pieces(content)
            yield bytes(-size % BLOCK)
        yield bytes(2 * BLOCK)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece


def _path(digest: str) -> str:
    return f"blobs/sha256/{digest_hex(digest)}"


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


# A registry


@dataclass(frozen=True)
class Pushed:
    """`digest` of the manifest; how many layers went, were there, or came from another repository; bytes that went."""

    digest: str
    sent: int
    there: int
    mounted: int
    sent_bytes: int


def push(
    image: Portable,
    registry: Registry,
    tag: str,
    *,
    compression: str = "gzip",
    mount_from: str = "",
    say: Callable[[str], None] = lambda line: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Pushed:
    """Send what the registry does not have: layers, lowest first, config, then the manifest under `tag`.

    `compression` is one of `packed.KINDS`. Raises RegistryError, NotFound, TooLarge.
    """
    layers, ways, sent = [], [], 0
    for layer in image.layers:
        way, blob = _send_layer(image.store, layer, registry, compression, mount_from, cancelled)
        layers.append(blob)
        ways.append(way)
        sent += blob.size if way == "sent" else 0
        say(f"{layer.digest[:19]}… {way} ({blob.size} bytes)")
    config = image.config_blob()
    if not registry.has(config):
        with tempfile.TemporaryFile(dir=image.store.folder) as file:
            file.write(image.config)
            registry.upload(config, file)
    digest = registry.write_manifest(tag, Manifest(config, tuple(layers)).encoded())
    return Pushed(digest, ways.count("sent"), ways.count("there"), ways.count("mounted"), sent)


def _send_layer(
    store: ImageStore,
    layer: Blob,
    registry: Registry,
    kind: str,
    mount_from: str,
    cancelled: Callable[[], bool],
) -> tuple[str, Blob]:
    known = noted(store, layer.digest, kind)
    if known is not None:
        if registry.has(known):
            return "there", known
        if mount_from and registry.mount(known, mount_from):
            return "mounted", known
    made, file = packed(store, layer.digest, kind, cancelled)
    with file:
        if made != known:
            if registry.has(made):
                return "there", made
            if mount_from and registry.mount(made, mount_from):
                return "mounted", made
        registry.upload(made, file)
    return "sent", made

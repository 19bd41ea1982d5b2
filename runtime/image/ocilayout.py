"""An OCI image layout (image-spec, image-layout.md): blobs by digest, manifests, and tags in `index.json`.

Needs no privilege: the folder belongs to the control plane. The spawner adds the blobs of layers; this module writes
the small JSON ones and removes blobs that nothing refers to. Every file appears by fsync and rename; writers of
`index.json` take turns by a file lock that dies with its holder.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, BinaryIO

from runtime.image.errors import Damaged, NotFound
from runtime.image.names import digest_hex
from runtime.kernel import files

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
REF_NAME = "org.opencontainers.image.ref.name"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
ARCHITECTURE = _ARCHITECTURES.get(os.uname().machine, os.uname().machine)
"""This machine's, in the words of images."""
_MAX_JSON = 4 * 1024 * 1024
EPOCH = "1980-01-01T00:00:00Z"
"""When every image that the platform builds was made."""
YOUNG_S = 3600.0
"""An unreferenced blob is kept this long, since a build in progress may be about to refer to it."""


@dataclass(frozen=True)
class StoredImage:
    """An image as read back. `layers` are digests, lowest first; `config` the OCI image configuration."""

    digest: str
    layers: tuple[str, ...]
    config: dict[str, Any]
    size_bytes: int

    def made_by(self) -> dict[str, str]:
        """Each layer with what made it, lowest first."""
        history = self.config.get("history", [])
        made = [str(item.get("created_by", "")) for item in history if not item.get("empty_layer")]
        return dict(zip_longest(self.layers, made[: len(self.layers)], fillvalue=""))


class ImageStore:
    """The image layout of one home. Blobs of base layers are linked from `stacks`."""

    def __init__(self, images: Path, stacks: Path) -> None:
        self.folder = images
        self._blobs = images / "blobs" / "sha256"
        self._stacks = stacks

    def prepare(self) -> None:
        """Make the files of an empty image layout, unless they exist."""
        self._blobs.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "oci-layout").exists():
            _write(self.folder / "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        with self._locked():
            if not (self.folder / "index.json").exists():
                self._write_index([])

    def write(
        self,
        layers: Collection[str],
        *,
        env: Mapping[str, str] | None = None,
        processes: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        made_by: Mapping[str, str] | None = None,
    ) -> str:
        """Write config and manifest of an image of `layers` (digests, lowest first); returns the manifest's digest.

        The same arguments give the same digest. `processes` (type → command) become labels, and the one called
        `web` the command. `made_by` says of layers (digests) what made them. Raises NotFound when a layer's blob is missing.
        """
        return self.write_config(
            layers, _config(layers, env or {}, processes or {}, labels or {}, made_by or {})
        )

    def write_config(self, layers: Collection[str], config: Mapping[str, Any]) -> str:
        """As `write`, with a whole image configuration (image-spec, config.md), in which the layers become these."""
        self.prepare()
        described = [{"mediaType": LAYER, "digest": digest, "size": self.size(digest)} for digest in layers]
        config = self._put({**config, "rootfs": {"type": "layers", "diff_ids": list(layers)}})
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, **config},
            "layers": described,
        }
        return str(self._put(manifest)["digest"])

    def read(self, digest: str) -> StoredImage:
        """An image by the digest of its manifest, verified. Raises NotFound, Damaged."""
        manifest = self._json(digest)
        try:
            layers = tuple(layer["digest"] for layer in manifest["layers"])
            size = sum(layer["size"] for layer in manifest["layers"])
            config = self._json(manifest["config"]["digest"])
        except (KeyError, TypeError) as error:
            raise Damaged(f"{digest} is no image manifest") from error
        return StoredImage(digest, layers, config, size)

    def tag(self, name: str, digest: str) -> None:
        """Name an image, `hello:v7`; a name given again moves."""
        size = self.size(digest)
        with self._locked():
            entries = [entry for entry in self._entries() if _name(entry) != name]
            annotations = {REF_NAME: name}
            entries.append(
                {"mediaType": MANIFEST, "digest": digest, "size": size, "annotations": annotations}
            )
            self._write_index(entries)

    def collect(
        self,
        images: Collection[str],
        *,
        blobs: Collection[str] = (),
        unused_since: float | None = None,
    ) -> int:
        """Remove everything but `images` (digests of manifests), their tags, and `blobs`; returns the bytes freed.

        Blobs made or used at `unused_since` (unix seconds; an hour ago) or later stay: a build may be about to refer to
        them. A kept image that is damaged or missing refers to nothing.
        """
        freed = 0
        moment = time.time() - YOUNG_S if unused_since is None else unused_since
        with self._locked():
            fresh = self._used_since(moment)
            entries = self._entries()
            kept = [entry for entry in entries if entry["digest"] in images or entry["digest"] in fresh]
            referred = self._referred({*images, *(str(entry["digest"]) for entry in kept)}) | set(blobs)
            for entry in list(os.scandir(self._blobs)):
                if f"sha256:{entry.name}" in referred:
                    continue
                with suppress(FileNotFoundError):
                    status = os.lstat(entry.path)
                    staged = entry.name.startswith(files.STAGED)  # somebody is writing it, however slowly
                    if status.st_mtime < (min(moment, time.time() - YOUNG_S) if staged else moment):
                        os.unlink(entry.path)
                        freed += status.st_size
            if kept != entries:
                self._write_index(kept)
        return freed

    def _used_since(self, moment: float) -> set[str]:
        """Digests of blobs that appeared or were used at `moment` or later."""
        found = set()
        for entry in os.scandir(self._blobs):
            with suppress(FileNotFoundError):
                if entry.stat(follow_symlinks=False).st_mtime >= moment:
                    found.add(f"sha256:{entry.name}")
        return found

    def _referred(self, manifests: set[str]) -> set[str]:
        referred = set()
        for digest in manifests:
            referred.add(digest)
            with suppress(NotFound, Damaged):
                manifest = self._json(digest)
                referred.add(str(manifest["config"]["digest"]))
                referred.update(str(layer["digest"]) for layer in manifest["layers"])
        return referred

    def _put(self, value: object) -> dict[str, Any]:
        data = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
        name = hashlib.sha256(data).hexdigest()
        path = self._blobs / name
        try:
            os.utime(path)
        except FileNotFoundError:
            _write(path, data)
        return {"digest": f"sha256:{name}", "size": len(data)}

    def _json(self, digest: str) -> dict[str, Any]:
        with self.open(digest) as file:
            data = file.read(_MAX_JSON)
        if hashlib.sha256(data).hexdigest() != digest_hex(digest):
            raise Damaged(f"blob {digest} is damaged")
        value = json.loads(data)
        if not isinstance(value, dict):
            raise Damaged(f"blob {digest} is no JSON object")
        return value

    def open(self, digest: str) -> BinaryIO:
        """A blob, to be read. Raises NotFound."""
        try:
            return (self._blobs / digest_hex(digest)).open("rb")
        except FileNotFoundError:
            raise NotFound(f"blob {digest} is not in {self.folder}") from None

    def holds(self, name: str) -> bool:
        """Whether there is a blob of that name, the hex digits of its digest."""
        return (self._blobs / name).exists()

    def size(self, digest: str) -> int:
        """Size of a blob in bytes; it is linked from the stacks when it is not here yet. Raises NotFound."""
        name = digest_hex(digest)
        path = self._blobs / name
        with suppress(FileNotFoundError):
            return path.stat().st_size
        source = self._stacks / "blobs" / "sha256" / name
        try:
            size = source.stat().st_size
            path.unlink(missing_ok=True)
            path.symlink_to(source)
        except FileNotFoundError:
            raise NotFound(f"blob {digest} is neither in {self.folder} nor in {self._stacks}") from None
        except FileExistsError:
            pass
        return size

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with files.locked(self.folder / ".lock", mode=0o666) as descriptor:
            if owner := _owner(self.folder):
                os.fchown(descriptor, *owner)
            yield

    def _entries(self) -> list[dict[str, Any]]:
        try:
            manifests: list[dict[str, Any]] = json.loads((self.folder / "index.json").read_bytes())[
                "manifests"
            ]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError) as error:
            raise Damaged(f"{self.folder}/index.json is damaged") from error
        return manifests

    def _write_index(self, entries: list[dict[str, Any]]) -> None:
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
        _write(self.folder / "index.json", json.dumps(index, separators=(",", ":")).encode())


def _config(
    layers: Collection[str],
    env: Mapping[str, str],
    processes: Mapping[str, str],
    labels: Mapping[str, str],
    made_by: Mapping[str, str],
) -> dict[str, Any]:
    """An image configuration (image-spec, config.md) that depends on nothing but its arguments."""
    settings: dict[str, Any] = {
        "User": "1000:1000",
        "WorkingDir": "/app",
        "Env": [f"{name}={value}" for name, value in sorted(env.items())],
        "Labels": {**labels, **{f"paas.process.{name}": command for name, command in processes.items()}},
    }
    if "web" in processes:
        settings["Cmd"] = ["bash", "-c", processes["web"]]
    return {
        "created": EPOCH,
        "architecture": ARCHITECTURE,
        "os": "linux",
        "config": settings,
        "history": [{"created": EPOCH, "created_by": made_by.get(digest, "paas")} for digest in layers],
    }


def _name(entry: Mapping[str, Any]) -> str:
    return str((entry.get("annotations") or {}).get(REF_NAME, ""))


def _write(path: Path, data: bytes) -> None:
    files.replace(path, data, owner=_owner(path.parent))


def _owner(folder: Path) -> tuple[int, int] | None:
    """Root may write here too, but the files belong to the owner of the folder."""
    if os.geteuid() != 0:
        return None
    status = folder.stat()
    return status.st_uid, status.st_gid

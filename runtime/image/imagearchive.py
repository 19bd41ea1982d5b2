"""A file that holds an image: an OCI layout in a tar, or what `docker save` writes. Read like a registry.

Needs no privilege. The archive is a stranger's: its names are looked up, never opened, and every blob is hashed.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
from collections.abc import Callable
from typing import Any, BinaryIO

from runtime.image import names
from runtime.image.distribution import Blob, Manifest, chosen, config_blob, parse_manifest
from runtime.image.errors import BadArchive, Damaged, NotFound
from runtime.image.exchange import MAX_JSON
from runtime.image.names import digest_hex
from runtime.image.ocilayout import LAYER
from runtime.image.tarreader import TarReader

MAX_MEMBERS = 10_000
_PIECE = 1024 * 1024
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz"}


class ImageArchive:
    """The image in `file`, a tar. Raises BadArchive for what is none."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._members: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        self._paths: dict[str, str] = {}
        """Where blobs are that are not at their usual place, by digest."""
        self._list()

    def read_manifest(self, name: str, architecture: str) -> tuple[str, Manifest]:
        """The manifest of the one image, of an index the one for `architecture`; with its digest. `name` is a tag, or empty."""
        if "index.json" not in self._members:
            return self._of_docker(name)
        digest = chosen(_list_of(self._json("index.json"), "manifests"), architecture, name)
        for _ in range(2):
            data = self._bytes(_path(digest))
            if hashlib.sha256(data).hexdigest() != digest_hex(digest):
                raise Damaged(f"the archive holds another manifest than {digest}")
            found = parse_manifest(data, architecture)
            if isinstance(found, Manifest):
                return digest, found
            digest = found
        raise BadArchive("an index of images leads to another index")

    def read_blob(self, blob: Blob, write: Callable[[bytes], object]) -> None:
        """Pass the bytes of a blob on. What was passed on counts only if this returns."""
        position, size = self._find(self._paths.get(blob.digest, _path(blob.digest)))
        digest = hashlib.sha256()
        self._file.seek(position)
        while size and (piece := self._file.read(min(size, _PIECE))):
            size -= len(piece)
            digest.update(piece)
            write(piece)
        if digest.hexdigest() != digest_hex(blob.digest):
            raise Damaged(f"the archive holds other bytes than blob {blob.digest}")

    def _of_docker(self, name: str) -> tuple[str, Manifest]:
        """What `docker save` wrote: plain layers, whose digests the configuration names."""
        images = _list_of({"images": self._json("manifest.json")}, "images")
        found = [image for image in images if isinstance(image, dict)]
        if name:
            tags = ((image, image.get("RepoTags")) for image in found)
            found = [image for image, tagged in tags if isinstance(tagged, list) and name in tagged]
        if len(found) != 1:
            raise BadArchive(_several(len(found), name))
        config, layers = str(found[0].get("Config")), [str(path) for path in _list_of(found[0], "Layers")]
        data = self._bytes(config)
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self._paths[digest] = config
        digests = _list_of(_parsed(data, config).get("rootfs"), "diff_ids")
        if len(digests) != len(layers):
            raise BadArchive("the archive has another number of layers than its configuration says")
        blobs = []
        for layer, path in zip(map(str, digests), layers, strict=True):
            _path(layer)
            self._paths[layer] = path
            blobs.append(Blob(LAYER, layer, self._find(path)[1]))
        manifest = Manifest(config_blob(digest, len(data)), tuple(blobs))
        return f"sha256:{hashlib.sha256(manifest.encoded()).hexdigest()}", manifest

    def _list(self) -> None:
        """Find each member; only headers are read."""
        self._file.seek(0)
        if kind := _COMPRESSED.get(self._file.read(2)):
            raise BadArchive(f"the archive is compressed with {kind}: unpack it first")
        self._file.seek(0)
        reader, letters = TarReader(self._file.read), 0
        for count, entry in enumerate(reader, start=1):
            names.check(entry.path)
            names.check(entry.target)
            letters += len(entry.path) + len(entry.target)
            if count > MAX_MEMBERS or letters > MAX_JSON:
                raise BadArchive(
                    f"the archive has more than {MAX_MEMBERS} members, or {MAX_JSON >> 20} MiB of names, which no image has"
                )
            name = posixpath.normpath(os.fsdecode(entry.path))
            if entry.kind == "file":
                self._members[name] = self._file.tell(), entry.size
            elif entry.kind in ("symlink", "hard_link"):
                folder = posixpath.dirname(name) if entry.kind == "symlink" else ""
                self._links[name] = posixpath.normpath(posixpath.join(folder, os.fsdecode(entry.target)))
            self._file.seek(reader.skip(), os.SEEK_CUR)
        if not {"index.json", "manifest.json"} & self._members.keys():
            raise BadArchive("the archive has neither index.json nor manifest.json: it holds no image")

    def _find(self, path: str) -> tuple[int, int]:
        path = posixpath.normpath(path)
        found = self._members.get(self._links.get(path, path))
        if found is None:
            raise NotFound(f"the archive has no {path[:100]!a}")
        return found

    def _bytes(self, path: str) -> bytes:
        position, size = self._find(path)
        if size > MAX_JSON:
            raise BadArchive(f"{path[:100]!a} in the archive is larger than {MAX_JSON >> 20} MiB")
        self._file.seek(position)
        return self._file.read(size)

    def _json(self, path: str) -> Any:
        return json_of(self._bytes(path), path)


def json_of(data: bytes, what: str) -> Any:
    """JSON of a stranger, whose texts are whole characters. Raises BadArchive."""
    try:
        value = json.loads(data)
        json.dumps(value, ensure_ascii=False).encode()  # half a character would fail where it is used
        return value
    except (ValueError, RecursionError):
        raise BadArchive(f"{what[:100]!a} is not JSON") from None


def _parsed(data: bytes, what: str) -> dict[str, Any]:
    value = json_of(data, what)
    return value if isinstance(value, dict) else {}


def _list_of(value: Any, key: str) -> list[Any]:
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, list):
        raise BadArchive(f"the archive has no list of {key}")
    return found


def _several(count: int, name: str) -> str:
    which = f"images called {name[:100]!a}" if name else "images"
    return f"the archive holds {count} {which}; it must be one"


def _path(digest: str) -> str:
    try:
        return f"blobs/sha256/{digest_hex(digest)}"
    except ValueError as error:
        raise BadArchive(str(error)) from None

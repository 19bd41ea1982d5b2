"""A pushed tree on disk: `TREE.tar`, and `TREE.json` that says where in it each file lies.

The tar is never unpacked here: small files are read at their offset, the whole becomes a layer in a confined child.
"""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from paas.errors import BadInput, NotFound, Unavailable

EPOCH = 315532800
"""The time of every file in a layer: 1980-01-01, the first that a zip archive can hold."""

_TREE = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")

Kind = Literal["file", "link", "none"]


@dataclass(frozen=True)
class _File:
    mode: str
    size: int
    offset: int


class SourceTree:
    """A `buildpacks.plan.Tree` over an exported source. Symbolic links are no files here."""

    def __init__(self, tree: str, tar: Path, files: dict[str, _File]) -> None:
        self.tree = tree
        self.tar_name = tar.name
        self._tar = tar
        self._files = files

    @classmethod
    def open(cls, sources: Path, tree: str) -> SourceTree:
        """Raises BadInput for what is no tree id, NotFound when it was not exported, Unavailable when damaged."""
        if not _TREE.fullmatch(tree):
            raise BadInput("The tree id of a push is 40 or 64 hexadecimal digits.")
        tar = sources / f"{tree}.tar"
        try:
            data = json.loads((sources / f"{tree}.json").read_bytes())
            files = {
                path: _File(str(entry["mode"]), int(entry["size"]), int(entry["offset"]))
                for path, entry in data["files"].items()
            }
        except FileNotFoundError:
            raise NotFound(f"The source {tree[:10]} is not here.", "Push the commit again.") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Unavailable(f"The source {tree[:10]} is damaged.", "Push the commit again.") from error
        if not tar.is_file():
            raise NotFound(f"The source {tree[:10]} is not here.", "Push the commit again.")
        return cls(tree, tar, files)

    def names(self) -> Iterable[str]:
        return [path for path, entry in self._files.items() if entry.mode.startswith("100")]

    def exists(self, path: str) -> bool:
        return self.kind(path) == "file"

    def kind(self, path: str) -> Kind:
        entry = self._files.get(path)
        if entry is None:
            return "none"
        return "file" if entry.mode.startswith("100") else "link"

    def read(self, path: str, limit: int = 1 << 20) -> bytes:
        if not self.exists(path):
            raise FileNotFoundError(path)
        entry = self._files[path]
        if entry.size > limit:
            raise ValueError(f"{path} has {entry.size} bytes, more than {limit}")
        descriptor = os.open(self._tar, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return _pread(descriptor, entry.size, entry.offset)
        finally:
            os.close(descriptor)

    def pack(self, paths: Iterable[str]) -> bytes:
        """A small tar of these files, for the standard input of a build step. The same files give the same
        bytes."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for path in sorted(set(paths)):
                data = self.read(path, limit=64 << 20)
                entry = tarfile.TarInfo(path)
                entry.size, entry.mtime = len(data), EPOCH
                entry.mode = 0o755 if self._files[path].mode == "100755" else 0o644
                tar.addfile(entry, io.BytesIO(data))
        return buffer.getvalue()


def _pread(descriptor: int, size: int, offset: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = os.pread(descriptor, size - len(data), offset + len(data))
        if not piece:
            raise Unavailable("A source is shorter than its index says.", "Push the commit again.")
        data += piece
    return data

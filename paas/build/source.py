"""A pushed tree on disk: `TREE.tar`, `TREE.index` that says where in it each file lies, `TREE.json` with its totals.

The tar is never unpacked here: small files are read at their offset, the whole becomes a layer in a confined child.
The index is mapped and searched, never read as a whole: a pusher decides how long it is.
"""

from __future__ import annotations

import hashlib
import io
import mmap
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from paas.nouns.errors import BadInput, NotFound, Unavailable
from paas.nouns.names import OBJECT_ID
from runtime.image.errors import BadArchive
from runtime.image.tarreader import TarReader
from runtime.image.tarwriter import BLOCK, TarWriter

ENDINGS = (".tar", ".index", ".json")
"""The files of a source, in the order in which they appear: with the last one it is whole."""

_LAYER_FOLDER = b"app/"
_MOST_PACKED, _MOST_PACKED_TOGETHER = 64 << 20, 256 << 20
_MODES = {"file": "100644", "symlink": "120000"}

Kind = Literal["file", "link", "none"]


@dataclass(frozen=True)
class _File:
    path: bytes
    mode: bytes
    size: int
    offset: int


def index_record(path: bytes, mode: str, size: int, offset: int) -> bytes:
    """One file or link in an index; the records are in the order of the paths' bytes."""
    return b"%s %d %d %s\0" % (mode.encode(), size, offset, path)


def _parse_record(record: bytes) -> _File:
    mode, size, offset, path = record.split(b" ", 3)
    return _File(path, mode, int(size), int(offset))


class SourceTree:
    """A `buildpacks.plan.Tree` over an exported source. Symbolic links are no files here.

    `procfile` is the path of the file that is read as `Procfile`.
    """

    def __init__(self, tree: str, tar: Path, index: mmap.mmap, procfile: str = "Procfile") -> None:
        self.tree = tree
        self.tar_name = tar.name
        self._tar = tar
        self._index = index
        self.procfile = procfile

    @classmethod
    def open(cls, sources: Path, tree: str, procfile: str = "Procfile") -> SourceTree:
        """Raises BadInput if `tree` is no tree id, NotFound if it was not exported, Unavailable if it is damaged."""
        if not OBJECT_ID.fullmatch(tree):
            raise BadInput("The tree id of a push is 40 hexadecimal digits.")
        tar = sources / f"{tree}.tar"
        try:
            with open(sources / f"{tree}.index", "rb") as file:
                index = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            raise NotFound(f"The source {tree[:10]} is not here.", "Deploy it again.") from None
        except ValueError as error:  # an empty file
            raise _damaged(tree) from error
        if not tar.is_file():
            raise NotFound(f"The source {tree[:10]} is not here.", "Deploy it again.")
        return cls(tree, tar, index, procfile)

    @classmethod
    def of_layer(cls, scratch: Path, tree: str, blob: Path, procfile: str = "Procfile") -> SourceTree:
        """The source that became this layer. Its index is made again, in an unnamed file below the folder `scratch`.

        Raises FileNotFoundError without the blob, Unavailable if it is no layer of a source.
        """
        with open(blob, "rb") as tar, open(os.open(scratch, os.O_RDWR | os.O_TMPFILE, 0o600), "w+b") as index:
            last = b""
            try:
                for entry in (reader := TarReader(tar.read)):
                    path = entry.path.removeprefix(_LAYER_FOLDER)
                    if entry.kind not in _MODES:
                        continue
                    if path <= last or path == entry.path:
                        raise _damaged(tree)
                    mode = "100755" if entry.kind == "file" and entry.mode & 0o100 else _MODES[entry.kind]
                    index.write(index_record(path, mode, entry.size, tar.tell()))
                    last = path
                    tar.seek(reader.skip(), os.SEEK_CUR)
            except BadArchive as error:
                raise _damaged(tree) from error
            index.flush()
            mapped = mmap.mmap(index.fileno(), 0, access=mmap.ACCESS_READ) if last else None
        if mapped is None:
            raise _damaged(tree)
        return cls(tree, blob, mapped, procfile)

    def names(self) -> Iterator[str]:
        start = 0
        while start < len(self._index):
            file, start = self._record_at(start)
            if file.mode.startswith(b"100"):
                yield os.fsdecode(file.path)

    def links(self) -> Iterator[str]:
        start = 0
        while start < len(self._index):
            file, start = self._record_at(start)
            if not file.mode.startswith(b"100"):
                yield os.fsdecode(file.path)

    def exists(self, path: str) -> bool:
        return self.kind(path) == "file"

    def kind(self, path: str) -> Kind:
        entry = self._find(path)
        if entry is None:
            return "none"
        return "file" if entry.mode.startswith(b"100") else "link"

    def _find(self, path: str) -> _File | None:
        """Binary search: `low` and `high` are offsets at which records begin."""
        try:
            wanted = os.fsencode(self.procfile if path == "Procfile" else path)
        except UnicodeEncodeError:  # no file has such a name
            return None
        low, high = 0, len(self._index)
        while low < high:
            middle = self._index.rfind(b"\0", low, (low + high) // 2) + 1 or low
            entry, after = self._record_at(middle)
            if entry.path == wanted:
                return entry
            low, high = (after, high) if entry.path < wanted else (low, middle)
        return None

    def _record_at(self, start: int) -> tuple[_File, int]:
        """The record that begins there, and where the next one does. Raises Unavailable."""
        end = self._index.find(b"\0", start)
        if end < 0:
            raise _damaged(self.tree)
        try:
            return _parse_record(self._index[start:end]), end + 1
        except ValueError as error:
            raise _damaged(self.tree) from error

    def read(self, path: str, limit: int = 1 << 20) -> bytes:
        entry = self._find(path)
        if entry is None or not entry.mode.startswith(b"100"):
            raise FileNotFoundError(path)
        if entry.size > limit:
            raise ValueError(f"{path} has {entry.size} bytes, more than {limit}")
        descriptor = os.open(self._tar, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return _pread(descriptor, entry.size, entry.offset)
        finally:
            os.close(descriptor)

    def copy(self, path: str, file: BinaryIO) -> None:
        """Write a regular file's bytes to `file`, and go back to where they begin. Raises FileNotFoundError."""
        entry = self._find(path)
        if entry is None or not entry.mode.startswith(b"100"):
            raise FileNotFoundError(path)
        with open(self._tar, "rb") as tar:
            sent = 0
            while sent < entry.size:
                piece = os.sendfile(file.fileno(), tar.fileno(), entry.offset + sent, entry.size - sent)
                if not piece:
                    raise _damaged(self.tree)
                sent += piece
        file.seek(0)

    def digest(self, path: str) -> list[str]:
        """What a file or a link is, for a key: its mode, and the digest of its bytes or of where it leads."""
        known = self._find(path)
        if known is not None and not known.mode.startswith(b"100"):
            return ["link", hashlib.sha256(self._target(known)).hexdigest()]
        mode = known.mode.decode() if known is not None else ""
        return [mode, hashlib.sha256(self.read(path, _MOST_PACKED)).hexdigest()]

    def _target(self, link: _File) -> bytes:
        """Where a link leads: its header stands before where its content would begin."""
        with open(self._tar, "rb") as tar:
            tar.seek(link.offset - BLOCK)
            for entry in TarReader(tar.read):
                if entry.kind == "symlink" and len(entry.target) < 100:
                    return entry.target
                break
        raise BadInput(
            f"{os.fsdecode(link.path)} is a link to a name of 100 bytes or more.", "Make it shorter."
        )

    def pack(self, paths: Iterable[str], written: Iterable[tuple[str, str]] = ()) -> bytes:
        """A tar of these files and links, and of `written` ones as path and text, for the standard input of a build
        step. The same files give the same bytes. Raises BadInput when they are too much."""
        buffer = io.BytesIO()
        tar = TarWriter(buffer.write)
        for path in sorted(set(paths)):
            known = self._find(path)
            if known is not None and not known.mode.startswith(b"100"):
                tar.symlink(os.fsencode(path), self._target(known))
                continue
            data = self.read(path, limit=_MOST_PACKED)
            if tar.offset + len(data) > _MOST_PACKED_TOGETHER:
                raise BadInput(
                    f"A build step is given more than {_MOST_PACKED_TOGETHER >> 20} MiB of files.",
                    "Leave out what it does not need: .dockerignore, or fewer folders.",
                )
            mode = 0o755 if known and known.mode == b"100755" else 0o644
            tar.file(os.fsencode(path), mode, len(data), (data,))
        for path, text in written:
            data = text.encode()
            tar.file(os.fsencode(path), 0o644, len(data), (data,))
        tar.finish()
        return buffer.getvalue()


def _damaged(tree: str) -> Unavailable:
    return Unavailable(f"The source {tree[:10]} is damaged.", "Deploy it again.")


def _pread(descriptor: int, size: int, offset: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = os.pread(descriptor, size - len(data), offset + len(data))
        if not piece:
            raise Unavailable("A source is shorter than its index says.", "Deploy it again.")
        data += piece
    return data

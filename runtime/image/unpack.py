"""Turns a tar that a stranger made into a layer: a clean tree and a canonical tar of it.

Every refusal is a BadArchive or TooLarge with one sentence; what was written until then lies in a staging folder
that is thrown away.
"""

from __future__ import annotations

import io
import re
from typing import Any

from runtime.image import names, zstd
from runtime.image.errors import BadArchive
from runtime.image.layerwriter import LayerWriter
from runtime.image.names import shown
from runtime.image.tarreader import Entry, Read, TarReader

GZIP = b"\x1f\x8b"
_AUFS = re.compile(rb"(?:^|/)\.wh\.\.wh\.(?!\.opq$)")
"""What old Docker layers hold of the file system that they came from."""


def unpack(read: Read, writer: LayerWriter, *, whiteouts: bool = False, image: bool = False) -> None:
    """Copy an archive into `writer` and finish it. Without `whiteouts` a name that begins with `.wh.` is refused.

    Devices, FIFOs, sparse files, `..`, absolute names, names twice and entries below links are refused; times,
    set-id bits and extended attributes are dropped. Owners are kept if `writer` keeps them. Of an `image` from elsewhere
    devices and FIFOs are left out, and names may begin with a slash.
    """
    reader = TarReader(read, foreign=image)
    for entry in reader:
        if image and _AUFS.search(entry.path):
            continue
        path = names.normal(entry.path.lstrip(b"/") or b"." if image else entry.path)
        if not path:
            if entry.kind != "directory":
                raise BadArchive(f"{shown(entry.path)}: the root of the archive is no folder")
            continue
        _add(entry, path, reader, writer, whiteouts)
    writer.finish()


def _add(entry: Entry, path: bytes, reader: TarReader, writer: LayerWriter, whiteouts: bool) -> None:
    folder, name = names.split(path)
    if any(part.startswith(names.WHITEOUT) for part in path.split(b"/")):
        if not whiteouts or folder.startswith(names.WHITEOUT) or b"/" + names.WHITEOUT in folder:
            raise BadArchive(f"{shown(path)}: names that begin with .wh. cannot be stored in an image")
        if entry.kind != "file" or entry.size:
            raise BadArchive(f"{shown(path)}: a whiteout that is no empty file")
        if name == names.OPAQUE:
            writer.hide_below(folder)
        else:
            writer.whiteout(names.join(folder, names.hidden(name) or name))
    elif entry.kind == "directory":
        writer.directory(path, entry.mode, entry.owner)
    elif entry.kind == "file":
        writer.file(path, entry.mode, entry.size, reader.content(), entry.owner)
    elif entry.kind == "symlink":
        writer.symlink(path, entry.target, entry.owner)
    else:
        writer.hard_link(path, names.normal(entry.target), entry.mode)


def plain(file: io.BufferedReader[Any]) -> Read:
    """Read a tar whether it is compressed with gzip or zstd, or not at all. Raises BadArchive."""
    magic = file.peek(4)[:4]
    if magic == zstd.MAGIC:
        return zstd.Reader(file.read).read
    if magic[:2] != GZIP:
        return file.read
    import gzip
    import zlib

    unpacked = gzip.GzipFile(fileobj=file)

    def read(size: int) -> bytes:
        try:
            return unpacked.read(size)
        except (OSError, EOFError, zlib.error) as error:
            raise BadArchive(f"no whole gzip stream: {error}") from None

    return read

"""What is installed in an image: `python -P -m paas.build.inventory FD…` reads its layers, lowest first, from descriptors.

Layers hold what tenants' builds made, so a process of its own reads them, confined before the first byte: it may read what
it was given, and write its answer. What package managers leave behind is believed, not what a lock file asks for (a lock adds
digests); programs say themselves what they were compiled of.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import chain

from paas.build.layerfiles import answer, ask
from paas.build.packagefiles import (
    Package,
    Record,
    integrity,
    of_path,
    package,
    parser_of,
    read,
    text_of,
    with_digests,
)
from runtime.image.errors import ImageError
from runtime.image.names import OPAQUE, hidden
from runtime.image.tarreader import Entry, TarReader
from runtime.kernel.confine import Bounds

MAX_PACKAGES = 20_000
_BOUNDS = Bounds(memory_bytes=192 << 20, file_bytes=0, cpu_s=60, wall_s=120.0)

_DEBIANS = (b"usr/bin/", b"usr/sbin/", b"usr/lib", b"bin/", b"sbin/", b"lib")
"""Folders whose programs are Debian's: their packages are listed."""
_GO_END = b"\xf92C1\x86\x18 r\x00\x82B\x10A\x16\xd8\xf2"
_GO_NOTE = 1 << 20
_GO_MODULE = re.compile(r"^(?:dep|=>)\t(\S+)\t(v\S+)(?:\t(h1:\S+))?", re.M)
_GO_VERSION = re.compile(rb"\xff Go buildinf:[\x04\x08][\x02\x03]\0{16}([\x04-\x40])go", re.S)
"""How the section begins since Go 1.18: the version with its length, then a note with the modules, which has an end mark."""
_NODE = re.compile(rb"https://nodejs\.org/download/release/v([0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3})/node-v")
_OVERLAP = 256


def read_packages(layers: Sequence[int]) -> list[Package]:
    """The packages in layers (descriptors of their tars), read by a confined process. Raises ImageError."""
    try:
        return [Package(*(str(word) for word in item)) for item in ask(__name__, [], layers)]
    except TypeError:
        raise ImageError("the layers of the image cannot be read: their reader gave no list") from None


def packages_of(layers: Sequence[io.BufferedReader]) -> list[Package]:
    """The packages that are visible in the topmost layer, without repetition. Raises BadArchive."""
    seen: dict[bytes, list[Record]] = {}
    for layer in layers:
        fresh: dict[bytes, list[Record]] = {}
        reader = TarReader(layer.read)
        for entry in reader:
            path = entry.path.removeprefix(b"./").rstrip(b"/")
            folder, _, name = path.rpartition(b"/")
            if name == OPAQUE:
                _remove(seen, folder, itself=False)
            elif (victim := hidden(name)) is not None:
                _remove(seen, folder + b"/" + victim if folder else victim, itself=True)
            elif entry.kind != "directory":
                seen.pop(path, None)
                if entry.kind == "file" and (found := _records(path, entry, reader)):
                    fresh[path] = found
        seen |= fresh
    return with_digests(record for found in seen.values() for record in found)[:MAX_PACKAGES]


def _remove(seen: dict[bytes, list[Record]], path: bytes, *, itself: bool) -> None:
    for known in [one for one in seen if one.startswith(path + b"/") or not path or (itself and one == path)]:
        del seen[known]


def _records(path: bytes, entry: Entry, reader: TarReader) -> list[Record]:
    if found := of_path(path):
        return found
    if known := parser_of(path):
        most, parser = known
        return read(parser, b"".join(reader.content())) if entry.size <= most else []
    if entry.mode & 0o111 and not path.startswith(_DEBIANS):
        return list(_program(reader.content(), is_node=path.endswith(b"/node")))
    return []


def _program(pieces: Iterator[bytes], *, is_node: bool) -> Iterator[Record]:
    """What Go's linker notes in a program (runtime/debug.BuildInfo); of Node its version."""
    first = next(pieces, b"")
    if not first.startswith(b"\x7fELF"):
        return
    rest = b""
    for piece in chain((first,), pieces):
        data = rest + piece
        if is_node and (match := _NODE.search(data)):
            yield from package("generic", "node", text_of(match[1]))
            return
        if match := _GO_VERSION.search(data):
            yield from _go_note(data[match.end() - len("go") :], match[1][0], pieces)
            return
        rest = data[-_OVERLAP:]


def _go_note(data: bytes, version_bytes: int, pieces: Iterator[bytes]) -> Iterator[Record]:
    for more in pieces:
        if _GO_END in data or len(data) > _GO_NOTE:
            break
        data += more
    yield from package("golang", "stdlib", text_of(data[len("go") : version_bytes]))
    note = text_of(data[version_bytes:_GO_NOTE].partition(_GO_END)[0])
    for name, version, checksum in _GO_MODULE.findall(note):
        yield from package("golang", name, version, integrity(checksum))


if __name__ == "__main__":
    answer([int(word) for word in sys.argv[1:]], packages_of, _BOUNDS)

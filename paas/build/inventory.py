"""What is installed in an image: `python -P -m paas.build.inventory FD…` reads its layers, lowest first, from descriptors.

Layers hold what tenants' builds made, so a process of its own reads them, confined before the first byte: it may read what
it was given, and write its answer. What package managers leave behind is believed, not what a lock file asks for: Debian's
status file, the metadata of Python, Ruby and PHP packages, package.json of each folder in `node_modules`, and the modules that Go notes in a
program. Deno alone leaves no more than its lock.
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from paas.build.layerfiles import answer, ask
from runtime.image.errors import ImageError
from runtime.image.names import OPAQUE, hidden
from runtime.image.tarreader import Entry, TarReader

MAX_PACKAGES = 20_000
_STATUS, _LOCK, _PACKAGE_JSON, _RELEASE = 32 << 20, 8 << 20, 1 << 20, 1 << 16
_WORD = re.compile(r"[!-~]{1,200}")

_PYTHON = re.compile(rb"(?:.*/)?site-packages/([^/]+)-([^/-]+)\.dist-info/METADATA")
_RUBY = re.compile(rb"(?:.*/)?specifications/([^/]+?)-([0-9][^/]*)\.gemspec")
_COMPOSER = re.compile(rb"(?:.*/)?vendor/composer/installed\.json")
_DENO = re.compile(r"(@?[^@]+)@([^_]+)")
_DEBIANS = (b"usr/bin/", b"usr/sbin/", b"usr/lib", b"bin/", b"sbin/", b"lib")
"""Folders whose programs are Debian's: their packages are listed."""
_GO_BEGIN = b"0w\xaf\x0c\x92t\x08\x02A\xe1\xc1\x07\xe6\xd6\x18\xe6"
_GO_END = b"\xf92C1\x86\x18 r\x00\x82B\x10A\x16\xd8\xf2"
_GO_NOTE = 1 << 20
_GO_MODULE = re.compile(r"^(?:dep|=>)\t(\S+)\t(v\S+)", re.M)
_NODE = re.compile(rb"(?:.*/)?node_modules/(?:@[^/@]+/)?[^/@]+/package\.json")


class Package(NamedTuple):
    """`kind` is a purl type: deb, pypi, npm, gem, composer, golang; or `os` for the distribution."""

    kind: str
    name: str
    version: str


def read_packages(layers: Sequence[int]) -> list[Package]:
    """The packages in layers (descriptors of their tars), read by a confined process. Raises ImageError."""
    try:
        return [Package(*(str(word) for word in item)) for item in ask(__name__, [], layers)]
    except TypeError:
        raise ImageError("the layers of the image cannot be read: their reader gave no list") from None


def packages_of(layers: Sequence[io.BufferedReader]) -> list[Package]:
    """The packages that are visible in the topmost layer, without repetition. Raises BadArchive."""
    seen: dict[bytes, list[Package]] = {}
    for layer in layers:
        fresh: dict[bytes, list[Package]] = {}
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
                if entry.kind == "file" and (found := _packages(path, entry, reader)):
                    fresh[path] = found
        seen |= fresh
    return list(dict.fromkeys(package for found in seen.values() for package in found))[:MAX_PACKAGES]


def _remove(seen: dict[bytes, list[Package]], path: bytes, *, itself: bool) -> None:
    for known in [one for one in seen if one.startswith(path + b"/") or not path or (itself and one == path)]:
        del seen[known]


def _packages(path: bytes, entry: Entry, reader: TarReader) -> list[Package]:
    if path == b"var/lib/dpkg/status" and entry.size <= _STATUS:
        return list(_debian(b"".join(reader.content())))
    if path == b"usr/lib/os-release" and entry.size <= _RELEASE:
        return _release(b"".join(reader.content()).decode("utf-8", "replace"))
    if match := _PYTHON.fullmatch(path):
        return _package("pypi", *map(_text, match.groups()))
    if match := _RUBY.fullmatch(path):
        return _package("gem", *map(_text, match.groups()))
    if _NODE.fullmatch(path) and entry.size <= _PACKAGE_JSON:
        return _node(b"".join(reader.content()))
    if _COMPOSER.fullmatch(path) and entry.size <= _LOCK:
        return _composer(b"".join(reader.content()))
    if path == b"app/deno.lock" and entry.size <= _LOCK:
        return _deno(b"".join(reader.content()))
    if entry.mode & 0o111 and not path.startswith(_DEBIANS):
        return _go(reader.content())
    return []


def _debian(status: bytes) -> Iterator[Package]:
    for paragraph in status.split(b"\n\n"):
        fields = {}
        for line in paragraph.split(b"\n"):
            name, colon, value = line.partition(b":")
            if colon and not line.startswith((b" ", b"\t")):
                fields[name] = _text(value).strip()
        if fields.get(b"Status", "").endswith(" installed"):
            yield from _package("deb", fields.get(b"Package", ""), fields.get(b"Version", ""))


def _release(text: str) -> list[Package]:
    pairs = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return _package("os", pairs.get("ID", "").strip('"'), pairs.get("VERSION_ID", "").strip('"'))


def _node(data: bytes) -> list[Package]:
    try:
        found = json.loads(data)
        return _package("npm", found["name"], found["version"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return []


def _composer(data: bytes) -> list[Package]:
    try:
        items = json.loads(data)["packages"]
        return [one for item in items for one in _package("composer", item["name"], item["version"])]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []


def _deno(data: bytes) -> list[Package]:
    """The npm packages of the lock, which Deno keeps under names of its own: `@scope/name@1.0.0_peer@2.0.0`."""
    try:
        keys = [str(key) for key in json.loads(data)["npm"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    matches = (_DENO.match(key) for key in keys)
    return [one for match in matches if match for one in _package("npm", match[1], match[2])]


def _go(pieces: Iterator[bytes]) -> list[Package]:
    """The modules that Go's linker notes in a program (runtime/debug.BuildInfo)."""
    first = next(pieces, b"")
    if not first.startswith(b"\x7fELF"):
        return []
    rest = b""
    for piece in chain((first,), pieces):
        data = rest + piece
        begin = data.find(_GO_BEGIN)
        if begin >= 0:
            for more in pieces:
                if _GO_END in data[begin:] or len(data) - begin > _GO_NOTE:
                    break
                data += more
            note = _text(data[begin : begin + _GO_NOTE].partition(_GO_END)[0])
            return [
                one for name, version in _GO_MODULE.findall(note) for one in _package("golang", name, version)
            ]
        rest = data[-len(_GO_BEGIN) :]
    return []


def _package(kind: str, name: object, version: object) -> list[Package]:
    if not isinstance(name, str) or not isinstance(version, str):
        return []
    return [Package(kind, name, version)] if _WORD.fullmatch(name) and _WORD.fullmatch(version) else []


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


if __name__ == "__main__":
    answer([int(word) for word in sys.argv[1:]], packages_of)

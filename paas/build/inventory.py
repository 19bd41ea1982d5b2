"""What is installed in an image: `python -P -m paas.build.inventory FD…` reads its layers, lowest first, from descriptors.

Layers hold what tenants' builds made, so a process of its own reads them, confined before the first byte: it may read what
it was given, and write its answer. What package managers leave behind is believed, not what a lock file asks for: Debian's
status file, the metadata of Python and Ruby packages, and package.json of each folder in `node_modules`.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from runtime.image.errors import ImageError
from runtime.image.names import OPAQUE, hidden
from runtime.image.tarreader import Entry, TarReader
from runtime.kernel.confine import Bounds, confine

MAX_PACKAGES = 20_000
_ANSWER_BYTES = 8 * 1024 * 1024
_CPU_S, _WALL_S, _MEMORY = 60, 120.0, 128 * 1024 * 1024
_STATUS, _PACKAGE_JSON, _RELEASE = 32 << 20, 1 << 20, 1 << 16
_WORD = re.compile(r"[!-~]{1,200}")

_PYTHON = re.compile(rb"(?:.*/)?site-packages/([^/]+)-([^/-]+)\.dist-info/METADATA")
_RUBY = re.compile(rb"(?:.*/)?specifications/([^/]+?)-([0-9][^/]*)\.gemspec")
_NODE = re.compile(rb"(?:.*/)?node_modules/(?:@[^/@]+/)?[^/@]+/package\.json")


class Package(NamedTuple):
    """`kind` is a purl type: deb, pypi, npm, gem; or `os` for the distribution."""

    kind: str
    name: str
    version: str


def read_packages(layers: Sequence[int]) -> list[Package]:
    """The packages in layers (descriptors of their tars), read by a confined process. Raises ImageError."""
    words = [sys.executable, "-P", "-m", "paas.build.inventory", *map(str, layers)]
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, pass_fds=layers, env={}, cwd="/"
    ) as process:  # fmt: skip
        assert process.stdout is not None
        answer = process.stdout.read(_ANSWER_BYTES + 1)
        process.kill()
    try:
        if len(answer) > _ANSWER_BYTES:
            raise ValueError
        found = json.loads(answer)
        if isinstance(found, str):
            raise ImageError(found[:300])
        return [Package(*(str(word) for word in item)) for item in found]
    except (ValueError, TypeError, RecursionError):
        raise ImageError(
            "the layers of the image cannot be read: their reader ended before its time"
        ) from None


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


def _package(kind: str, name: object, version: object) -> list[Package]:
    if not isinstance(name, str) or not isinstance(version, str):
        return []
    return [Package(kind, name, version)] if _WORD.fullmatch(name) and _WORD.fullmatch(version) else []


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def main(arguments: Sequence[str]) -> None:
    """Confine this process, read, answer with a list of packages, or with one sentence."""
    layers = [int(word) for word in arguments]
    bounds = Bounds(
        memory_bytes=_MEMORY, file_bytes=0, open_files=len(layers) + 16, cpu_s=_CPU_S, wall_s=_WALL_S
    )
    confine(bounds, keep=layers, parent=os.getppid())
    try:
        answer: object = packages_of([io.BufferedReader(io.FileIO(fd), 1 << 18) for fd in layers])
    except ImageError as error:
        answer = str(error)
    except MemoryError:
        answer = "the layers of the image hold too much to list"
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])

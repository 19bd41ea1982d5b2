"""Small files of an image, as they are in its topmost layer: `python -P -m paas.build.layerfiles PATHS FD…`.

Layers hold what strangers made, so a process of its own reads them, confined before the first byte: it may read what it
was given, and write its answer. `ask` and `answer` do this for every reader of layers.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from runtime.image.errors import ImageError
from runtime.image.names import OPAQUE, hidden, join
from runtime.image.tarreader import TarReader
from runtime.kernel.confine import Bounds, confine

_ANSWER_BYTES = 8 * 1024 * 1024
_READING = Bounds(memory_bytes=128 * 1024 * 1024, file_bytes=0, cpu_s=60, wall_s=120.0)
_FILE_BYTES = 1 << 20
_SEPARATOR = ","
_SMALL = 16 * 1024
"""Characters of a layer's files that are worth remembering."""


def ask(module: str, words: Sequence[str], layers: Sequence[int]) -> Any:
    """What `module`, run in a process of its own, answers about layers (descriptors of their tars). Raises ImageError."""
    command = [sys.executable, "-P", "-m", module, *words, *map(str, layers)]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, pass_fds=layers, env={}, cwd="/"
    ) as process:  # fmt: skip
        assert process.stdout is not None
        said = process.stdout.read(_ANSWER_BYTES + 1)
        process.kill()
    try:
        if len(said) > _ANSWER_BYTES:
            raise ValueError
        found = json.loads(said)
    except (ValueError, RecursionError):
        raise _ended() from None
    if isinstance(found, str):
        raise ImageError(found[:300])
    return found


def _ended() -> ImageError:
    return ImageError("the layers of the image cannot be read: their reader ended before its time")


def answer(
    layers: Sequence[int], work: Callable[[list[io.BufferedReader]], object], bounds: Bounds = _READING
) -> None:
    """In that process: confine it, read, and answer with what `work` finds, or with one sentence. Does not return."""
    confine(replace(bounds, open_files=len(layers) + 16), keep=layers, parent=os.getppid())
    try:
        found: object = work([io.BufferedReader(io.FileIO(fd), 1 << 18) for fd in layers])
    except ImageError as error:
        found = str(error)
    except MemoryError:
        found = "the layers of the image hold too much to list"
    sys.stdout.write(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)


@dataclass(frozen=True)
class Said:
    """What one layer says of the files that are asked for: those it has, and those of lower layers that it hides."""

    found: Mapping[str, str]
    gone: Collection[str]


def read_files(layers: Sequence[int], paths: Collection[str]) -> dict[str, str]:
    """The files among `paths` (`etc/passwd`) that the image has, up to a MiB each. Raises ImageError."""
    return _topmost(_asked(layers, paths))


class KnownLayers:
    """What layers said of `paths` before: of an image only the others are read. Layers never change."""

    def __init__(self, paths: Collection[str], most: int = 256) -> None:
        self._paths, self._most = paths, most
        self._said: dict[str, Said] = {}

    def read(self, digests: Sequence[str], opened: Callable[[str], BinaryIO]) -> dict[str, str]:
        """As `read_files`, of the layers with these digests, which `opened` opens. Raises ImageError."""
        known = {digest: said for digest in digests if (said := self._said.get(digest))}
        unknown = [digest for digest in digests if digest not in known]
        with ExitStack() as stack:
            files = [stack.enter_context(opened(digest)) for digest in unknown]
            answers = _asked([file.fileno() for file in files], self._paths) if files else []
        fresh = dict(zip(unknown, answers, strict=True))
        small = {digest: one for digest, one in fresh.items() if sum(map(len, one.found.values())) < _SMALL}
        if len(self._said) + len(small) > self._most:
            self._said = {}
        self._said.update(small)
        known |= fresh
        return _topmost(known[digest] for digest in digests)


def _asked(layers: Sequence[int], paths: Collection[str]) -> list[Said]:
    try:
        answers = [
            Said({str(path): str(text) for path, text in found.items()}, [str(path) for path in gone])
            for found, gone in ask(__name__, [_SEPARATOR.join(paths)], layers)
        ]
    except (ValueError, TypeError, AttributeError):
        raise _ended() from None
    if len(answers) != len(layers):
        raise _ended()
    return answers


def _topmost(layers: Iterable[Said]) -> dict[str, str]:
    files: dict[str, str] = {}
    for said in layers:
        files = {path: text for path, text in files.items() if path not in said.gone} | dict(said.found)
    return files


def files_of(layers: Iterable[io.BufferedReader], paths: Collection[str]) -> dict[str, str]:
    """As `read_files`, in this process. Raises BadArchive."""
    return _topmost(_said(layer, paths) for layer in layers)


def _said(layer: io.BufferedReader, paths: Collection[str]) -> Said:
    wanted, found, gone = {os.fsencode(path): path for path in paths}, dict[str, str](), set[str]()
    reader = TarReader(layer.read)
    for entry in reader:
        path = entry.path.removeprefix(b"./").rstrip(b"/")
        folder, _, name = path.rpartition(b"/")
        if (victim := folder if name == OPAQUE else _hidden(folder, name)) is not None:
            below = victim + b"/" if victim else b""
            gone |= {one for raw, one in wanted.items() if (raw + b"/").startswith(below)}
        elif path in wanted:
            gone.add(wanted[path])
            if entry.kind == "file" and entry.size <= _FILE_BYTES:
                found[wanted[path]] = b"".join(reader.content()).decode("utf-8", "replace")
        layer.seek(reader.skip(), os.SEEK_CUR)
    return Said(found, gone)


def _hidden(folder: bytes, name: bytes) -> bytes | None:
    victim = hidden(name)
    return None if victim is None else join(folder, victim)


if __name__ == "__main__":
    answer(
        [int(word) for word in sys.argv[2:]],
        lambda layers: [
            (said.found, sorted(said.gone))
            for said in (_said(layer, sys.argv[1].split(_SEPARATOR)) for layer in layers)
        ],
    )

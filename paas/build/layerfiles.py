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
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

from runtime.image.errors import ImageError
from runtime.image.names import OPAQUE, hidden, join
from runtime.image.tarreader import TarReader
from runtime.kernel.confine import Bounds, confine

_ANSWER_BYTES = 8 * 1024 * 1024
_READING = Bounds(memory_bytes=128 * 1024 * 1024, file_bytes=0, cpu_s=60, wall_s=120.0)
_FILE_BYTES = 1 << 20
_SEPARATOR = ","


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


def read_files(layers: Sequence[int], paths: Collection[str]) -> dict[str, str]:
    """The files among `paths` (`etc/passwd`) that the image has, up to a MiB each. Raises ImageError."""
    found = ask(__name__, [_SEPARATOR.join(paths)], layers)
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise _ended()
    return found


def files_of(layers: Sequence[io.BufferedReader], paths: Collection[str]) -> dict[str, str]:
    """As `read_files`, in this process. Raises BadArchive."""
    wanted, found = {os.fsencode(path): path for path in paths}, dict[str, str]()
    for layer in layers:
        fresh: dict[str, str] = {}
        reader = TarReader(layer.read)
        for entry in reader:
            path = entry.path.removeprefix(b"./").rstrip(b"/")
            folder, _, name = path.rpartition(b"/")
            if (victim := folder if name == OPAQUE else _hidden(folder, name)) is not None:
                below = victim + b"/" if victim else b""
                for gone in [one for raw, one in wanted.items() if (raw + b"/").startswith(below)]:
                    found.pop(gone, None)
            elif path in wanted:
                found.pop(wanted[path], None)
                if entry.kind == "file" and entry.size <= _FILE_BYTES:
                    fresh[wanted[path]] = b"".join(reader.content()).decode("utf-8", "replace")
            layer.seek(reader.skip(), os.SEEK_CUR)
        found |= fresh
    return found


def _hidden(folder: bytes, name: bytes) -> bytes | None:
    victim = hidden(name)
    return None if victim is None else join(folder, victim)


if __name__ == "__main__":
    answer(
        [int(word) for word in sys.argv[2:]], lambda layers: files_of(layers, sys.argv[1].split(_SEPARATOR))
    )

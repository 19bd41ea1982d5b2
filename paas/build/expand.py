"""An archive without its compression: `python -P -m paas.build.expand MOST RESERVE FROM TO`, the last two descriptors.

What a stranger compressed is unpacked by a confined process, which ends at a bound: a small file may hold very much.
"""

from __future__ import annotations

import gzip  # noqa: F401  # before the process is confined
import io
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from paas.build.layerfiles import answer, ask
from runtime.image import zstd
from runtime.image.errors import BadArchive, ImageError
from runtime.image.unpack import GZIP, plain
from runtime.kernel.confine import Bounds

_PIECE = 1 << 20
_BOUNDS = Bounds(memory_bytes=256 << 20, file_bytes=1 << 40, cpu_s=120, wall_s=300.0)


def expanded(file: BinaryIO, folder: Path, *, most: int, reserve: int) -> BinaryIO:
    """`file`, an archive at its beginning; if it is compressed, a file without a name in `folder` of what it holds.

    At most `most` bytes come out, and `reserve` bytes of the disk stay free. Closes `file` when it gives another. Raises
    BadArchive, ImageError.
    """
    magic = os.pread(file.fileno(), 4, 0)
    if magic != zstd.MAGIC and magic[:2] != GZIP:
        return file
    descriptor = os.open(folder, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    with file, ExitStack() as failed:
        target = failed.enter_context(open(descriptor, "r+b"))
        if refused := ask(__name__, [str(most), str(reserve)], [file.fileno(), descriptor]):
            raise BadArchive(f"the archive is refused: {refused['cause'][:300]}")
        failed.pop_all()
    return target


def _copy(source: io.BufferedReader, target: io.BufferedReader, most: int, reserve: int) -> dict[str, str]:
    """In the confined process: write what the archive holds; why it was not, if it was not."""
    try:
        read = plain(source)
        while piece := read(_PIECE):
            most -= len(piece)
            room = os.fstatvfs(target.fileno())
            if most < 0 or room.f_bavail * room.f_frsize < reserve:
                return {"cause": "it holds more than an image may have, or than the disk has room for"}
            view = memoryview(piece)
            while view:
                view = view[os.write(target.fileno(), view) :]
    except ImageError as error:
        return {"cause": str(error)}
    return {}


if __name__ == "__main__":
    words = [int(word) for word in sys.argv[1:]]
    zstd.load()
    answer(words[2:], lambda files: _copy(files[0], files[1], words[0], words[1]), _BOUNDS)

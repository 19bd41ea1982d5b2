"""Compressed layers: `python -P -m runtime.image.packed IMAGES STACKS KIND DIGEST…` makes them at idle priority.

A layer is compressed once and kept beside a note of its digest and size, in `images/KIND/`. The same layer always gives the
same gzip blob. The notes end with their layers; of the blobs the latest used ones stay, up to MOST_BYTES.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from runtime.image import zstd
from runtime.image.distribution import GZIP_LAYER, ZSTD_LAYER, Blob
from runtime.image.errors import ImageError, TooLarge
from runtime.image.names import digest_hex
from runtime.image.ocilayout import YOUNG_S, ImageStore
from runtime.kernel import files, syscalls

KINDS = {"gzip": GZIP_LAYER, "zstd": ZSTD_LAYER}
MOST_BYTES = 1 << 30
"""What the blobs of all layers may hold."""
_RESERVE_BYTES = 2 << 30
"""What a blob that is made ahead leaves free of the disk."""
_PUSH_RESERVE_BYTES = 256 << 20
"""What a blob leaves free for which a push waits."""
_LEVEL = 4
"""A third faster than gzip's own 6, for three per cent more bytes."""
_GZIP = 31
"""zlib's word for a gzip header, which has neither name nor time."""
_ZSTD_LEVEL = 3
_PIECE = 1 << 20
_MAX_BLOB = 8 * 1024**3
_NOTE = re.compile(r"(sha256:[0-9a-f]{64}) ([0-9]{1,12})\n?")
_BLOB = ".blob"


def never() -> bool:
    return False


def noted(store: ImageStore, digest: str, kind: str) -> Blob | None:
    """The compressed blob that was once made of a layer: known, it need not be made to learn that a registry has it."""
    try:
        match = _NOTE.fullmatch(_path(store, digest, kind).read_text())
    except FileNotFoundError:
        return None
    return Blob(KINDS[kind], match[1], int(match[2])) if match else None


def packed(
    store: ImageStore,
    digest: str,
    kind: str,
    cancelled: Callable[[], bool] = never,
    *,
    reserve: int = _PUSH_RESERVE_BYTES,
) -> tuple[Blob, BinaryIO]:
    """The compressed blob of a layer, kept or made; with the open file. `reserve` bytes of the disk stay free.

    Raises NotFound, TooLarge, ImageError.
    """
    path, known = _path(store, digest, kind), noted(store, digest, kind)
    with contextlib.suppress(FileNotFoundError):
        kept = path.with_suffix(_BLOB).open("rb")
        if known is not None and os.fstat(kept.fileno()).st_size == known.size:
            os.utime(kept.fileno())
            return known, kept
        kept.close()
    path.parent.mkdir(exist_ok=True)
    fresh = path.with_name(f"{files.STAGED}{os.urandom(8).hex()}")
    file = fresh.open("x+b")
    try:
        with store.open(digest) as plain:
            made = _compress(plain, file, kind, cancelled, reserve)
        file.flush()
        fresh.rename(path.with_suffix(_BLOB))
    except BaseException:
        file.close()
        fresh.unlink(missing_ok=True)
        raise
    files.replace(path, f"{made.digest} {made.size}\n".encode(), durable=False)
    sweep(store)
    return made, file


def _path(store: ImageStore, digest: str, kind: str) -> Path:
    return store.folder / kind / digest_hex(digest)


def _compress(
    plain: BinaryIO, file: BinaryIO, kind: str, cancelled: Callable[[], bool], reserve: int
) -> Blob:
    packer = zstd.Writer(_ZSTD_LEVEL) if kind == "zstd" else zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    digest, size, ended = hashlib.sha256(), 0, False
    while not ended:
        piece = plain.read(_PIECE)
        ended = not piece
        if cancelled() or size > _MAX_BLOB:
            raise TooLarge("a layer is too large, or nobody waits for it any more")
        if _free(file.fileno()) < reserve:
            raise TooLarge("the disk has no room for the compressed layer")
        data = packer.flush() if ended else packer.compress(piece)
        digest.update(data)
        size += len(data)
        file.write(data)
    return Blob(KINDS[kind], f"sha256:{digest.hexdigest()}", size)


def _free(place: int | str) -> int:
    room = os.statvfs(place)
    return room.f_bavail * room.f_frsize


def sweep(store: ImageStore, most: int = MOST_BYTES) -> int:
    """Remove the notes and blobs of layers that are gone, and the blobs that were not used for longest; the bytes freed."""
    blobs, freed = [], 0
    for kind in KINDS:
        with contextlib.suppress(FileNotFoundError):
            for entry in list(os.scandir(store.folder / kind)):
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat()
                    staged = entry.name.startswith(files.STAGED)
                    if staged:
                        gone = status.st_mtime < time.time() - YOUNG_S
                    else:
                        gone = not store.holds(entry.name.removesuffix(_BLOB))
                    if gone:
                        os.unlink(entry.path)
                        freed += status.st_size
                    elif not staged and entry.name.endswith(_BLOB):
                        blobs.append((status.st_mtime, status.st_size, entry.path))
    kept = 0
    for _, size, path in sorted(blobs, reverse=True):
        kept += size
        if kept > most:
            Path(path).unlink(missing_ok=True)
            freed += size
    return freed


def main(images: str, stacks: str, kind: str, *digests: str) -> int:
    """Make the blobs as long as the disk has room, when nothing else wants the processor (sched(7), SCHED_IDLE)."""
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    store = ImageStore(Path(images), Path(stacks))
    for digest in digests:
        spare = _free(images) - _RESERVE_BYTES
        if spare < 0:
            return 1
        try:
            if store.size(digest) <= spare:
                packed(store, digest, kind, reserve=_RESERVE_BYTES)[1].close()
        except (ImageError, OSError) as error:
            print(f"event=not-packed layer={digest} reason={error}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

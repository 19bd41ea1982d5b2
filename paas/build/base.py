"""The stack below an image: which one it stands on, and the same image on a newer one of that name, where that is sound.

A rebase builds nothing: the layers above stay as they are. It is sound when they ask nothing of the old stack that the new one
has not: every shared library, program and language of the old run layers is there under its name, and no layer above holds
Debian's list of packages, which would describe the old stack.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import takewhile
from pathlib import Path

from paas.build.layerfiles import read_files
from paas.build.platform import Platform
from paas.nouns.errors import BuildFailed
from paas.nouns.model import Image
from paas.store import images
from runtime.image.ocilayout import ImageStore
from runtime.image.tarreader import TarReader
from runtime.stack.build import Stack

BUILT_AS = "built_as"
"""The key of a rebased image's manifest with the digest of the image that a build made."""
_STATUS = "var/lib/dpkg/status"
_NEEDED = re.compile(
    rb"(?:usr/)?lib/[^/]+-linux-gnu/[^/]+\.so(?:\.[0-9]+){0,2}|usr/s?bin/[^/]+|usr/lib/python3\.[0-9]+"
)
"""A library by the name that programs ask for it by, a program, a Python. Three numbers are a library's own version."""
_SHOWN = 3


def base_of(image: Image, stacks: Path) -> tuple[str, ...]:
    """The layers of a stack that an image stands on, lowest first; none of an image from elsewhere."""
    return tuple(takewhile(lambda digest: _blob(stacks, digest).exists(), image.layers))


def rebased_image(platform: Platform, image: Image, stack: Stack) -> Image:
    """The image on `stack`, with its row. Raises BuildFailed with the reason where only a build is sound."""
    stacks = platform.layout.stacks
    base = base_of(image, stacks)
    above = image.layers[len(base) :]
    store = ImageStore(platform.layout.images, stacks)
    if missing := _missing(stacks, base, stack.run):
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise _unsound(f"the new stack has no {', '.join(missing[:_SHOWN])}{more}")
    opened = [store.open(digest) for digest in above]
    try:
        if read_files([file.fileno() for file in opened], [_STATUS]):
            raise _unsound("it has Debian packages of its own")
    finally:
        for file in opened:
            file.close()
    layers = (*stack.run, *above)
    digest = store.write_config(layers, store.read(image.digest).config)
    manifest = {**image.manifest, BUILT_AS: image.manifest.get(BUILT_AS, image.digest)}
    size = sum(store.size(layer) for layer in layers)
    made = replace(image, digest=digest, layers=layers, manifest=manifest, size_bytes=size)
    with platform.store.write() as tx:
        images.add(tx, made)
    return made


def _unsound(reason: str) -> BuildFailed:
    return BuildFailed(
        f"It cannot be rebased: {reason}.", "Build it again: paas ps:rebuild", cause="not sound"
    )


@lru_cache(maxsize=16)
def _missing(stacks: Path, old: tuple[str, ...], new: tuple[str, ...]) -> tuple[str, ...]:
    """What layers above could need of the old stack, and the new one has not."""
    lacking = _needed(stacks, old) - _needed(stacks, new)
    return tuple(sorted(os.fsdecode(name.rpartition(b"/")[2]) for name in lacking))


def _needed(stacks: Path, layers: Sequence[str]) -> set[bytes]:
    """Root made these layers of Debian's packages; they are read here."""
    found = set()
    for digest in layers:
        with _blob(stacks, digest).open("rb") as file:
            reader = TarReader(file.read)
            for entry in reader:
                path = entry.path.removeprefix(b"./").rstrip(b"/")
                if _NEEDED.fullmatch(path):
                    found.add(path)
                file.seek(reader.skip(), os.SEEK_CUR)
    return found


def _blob(stacks: Path, digest: str) -> Path:
    return stacks / "blobs" / "sha256" / digest.removeprefix("sha256:")

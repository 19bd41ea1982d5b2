"""Objects of a repository by name, read by git. Runs in a confined child, on objects that a pusher made."""

from __future__ import annotations

import subprocess
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from paas.receive import git
from paas.receive.listing import FOLDER, records

MAX_CONTENT_BYTES = 64 * 1024
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Found:
    """An object. `content` is its beginning, all of it if `size` is at most MAX_CONTENT_BYTES."""

    oid: str
    kind: str
    size: int
    content: bytes


def read_objects(repository: Path, names: Sequence[str]) -> list[Found | None]:
    """Each object that git finds by its name (gitrevisions(7): an id, `COMMIT:PATH`), None for one that is not there.

    A name has no newline. One process reads all.
    """
    process = subprocess.Popen(
        git.command(repository, "cat-file", "--batch"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=git.ENVIRONMENT,
    )
    assert process.stdin is not None and process.stdout is not None
    with process:
        process.stdin.write(b"".join(name.encode() + b"\n" for name in names))
        process.stdin.close()
        return [_read(process.stdout, name) for name in names]


def _read(answers: IO[bytes], name: str) -> Found | None:
    line = answers.readline()
    if not line.strip() or line == name.encode() + b" missing\n":
        return None
    oid, kind, size = line.decode().split()
    content = answers.read(min(int(size), MAX_CONTENT_BYTES))
    left = int(size) - len(content) + 1  # a newline ends each answer
    while left > 0 and (piece := answers.read(min(left, _CHUNK))):
        left -= len(piece)
    return Found(oid, kind, int(size), content)


def folder_names(repository: Path, tree: str) -> Generator[str, None, None]:
    """The folders at the top of a tree, as a sentence shows them. Close it when enough have come."""
    process = subprocess.Popen(
        git.command(repository, "ls-tree", "-d", "-z", "--full-tree", tree),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=git.ENVIRONMENT,
    )
    assert process.stdout is not None
    with process:
        for record in records(process.stdout):
            meta, _, name = record.partition(b"\t")
            if meta.startswith(FOLDER.encode()):  # -d lists submodules, too
                yield ascii(name.decode("utf-8", "backslashreplace"))[1:-1]

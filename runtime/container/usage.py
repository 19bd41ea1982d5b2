"""How much of the disk a folder takes whose content is hostile: names and sizes are looked at, nothing is opened but folders."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from runtime.kernel import syscalls as sc

_DAC_READ_SEARCH = 1 << 2
_BELOW = sc.RESOLVE_BENEATH | sc.RESOLVE_NO_SYMLINKS | sc.RESOLVE_NO_MAGICLINKS
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
MOST_PATH_BYTES = 4000
"""A folder whose path is longer cannot be looked into; it counts as more than any bound."""


@dataclass(frozen=True)
class Usage:
    """`bytes` are those of blocks, a file with several names counts once; `files` are entries of every kind."""

    bytes: int
    files: int


def measure(top: Path, most: Usage) -> Usage:
    """What lies below `top`, which may be missing; counting ends as soon as one figure is above `most`."""
    try:
        root = os.open(top, _FOLDER)
    except FileNotFoundError:
        return Usage(0, 0)
    found, waiting = Usage(0, 0), [b"."]
    try:
        while waiting and found.bytes <= most.bytes and found.files <= most.files:
            path = waiting.pop()
            if len(path) > MOST_PATH_BYTES:
                return Usage(found.bytes, most.files + 1)
            found = _add_folder(root, path, found, most, waiting)
    finally:
        os.close(root)
    return found


def _add_folder(root: int, path: bytes, found: Usage, most: Usage, waiting: list[bytes]) -> Usage:
    size, files = found.bytes, found.files
    try:
        here = sc.openat2(root, path, _FOLDER, resolve=_BELOW)
    except OSError:  # gone, or exchanged for something else meanwhile
        return found
    try:
        with os.scandir(here) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                size += status.st_blocks * 512 // max(1, status.st_nlink)
                files += 1
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(path + b"/" + os.fsencode(entry.name))
                if size > most.bytes or files > most.files:
                    break
    except OSError:
        pass
    finally:
        os.close(here)
    return Usage(size, files)


def give_up_rights() -> None:
    """For the process that measures: look everywhere, change nothing."""
    sc.capset(_DAC_READ_SEARCH, _DAC_READ_SEARCH, 0)
    sc.prctl(sc.PR_SET_NO_NEW_PRIVS, 1)

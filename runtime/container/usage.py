"""How much of the disk a folder takes whose content is hostile: names and sizes are looked at, nothing is opened but folders."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runtime.kernel import syscalls as sc

_DAC_READ_SEARCH = 1 << 2
_BELOW = sc.RESOLVE_BENEATH | sc.RESOLVE_NO_SYMLINKS | sc.RESOLVE_NO_MAGICLINKS
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
MOST_PATH_BYTES = 4000
"""A folder whose path is longer cannot be looked into; it counts as more than any bound."""
MOST_WAITING_BYTES = 64 << 20
"""So much is kept of the paths of folders that are still to be looked into; more counts as more than any bound."""
MOST_LOOKS = 500_000
"""Descriptors and mappings of a build that are looked at; more count as more than any bound."""


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
    found, waiting = Usage(0, 0), _Waiting()
    waiting.add(b".")
    try:
        while waiting.paths and found.bytes <= most.bytes and found.files <= most.files:
            path = waiting.take()
            if len(path) > MOST_PATH_BYTES:
                return Usage(found.bytes, most.files + 1)
            found = _add_folder(root, path, found, most, waiting)
            if waiting.bytes > MOST_WAITING_BYTES:
                return Usage(found.bytes, most.files + 1)
    finally:
        os.close(root)
    return found


class _Waiting:
    """Folders that are still to be looked into, and how much memory their paths take."""

    def __init__(self) -> None:
        self.paths: list[bytes] = []
        self.bytes = 0

    def add(self, path: bytes) -> None:
        self.paths.append(path)
        self.bytes += sys.getsizeof(path)

    def take(self) -> bytes:
        path = self.paths.pop()
        self.bytes -= sys.getsizeof(path)
        return path


def _add_folder(root: int, path: bytes, found: Usage, most: Usage, waiting: _Waiting) -> Usage:
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
                    waiting.add(path + b"/" + os.fsencode(entry.name))
                if size > most.bytes or files > most.files or waiting.bytes > MOST_WAITING_BYTES:
                    break
    except OSError:
        pass
    finally:
        os.close(here)
    return Usage(size, files)


def unlinked(pids: Iterable[int], folders: Iterable[Path], most: Usage) -> Usage:
    """What files without a name take that the processes still have open or mapped, on the file systems of `folders` and
    of the processes' own roots. Needs the right to trace the processes, which stand still."""
    pids, devices = list(pids), set[int]()
    roots = [Path(f"/proc/{pid}/root") for pid in pids]
    for top in (*folders, *roots):
        with suppress(OSError):
            devices.add(os.stat(top).st_dev)
    found: dict[tuple[int, int], int] = {}
    for number, path in enumerate(_open_files(pids)):
        if number >= MOST_LOOKS:
            return Usage(0, most.files + 1)
        with suppress(OSError):
            if path and (status := os.stat(path)).st_nlink == 0 and status.st_dev in devices:
                found[status.st_dev, status.st_ino] = status.st_blocks * 512
    return Usage(sum(found.values()), len(found))


def _open_files(pids: Iterable[int]) -> Iterator[str]:
    """Links to what each thread has open and to the nameless files that it has mapped; empty for another mapping."""
    for pid in pids:
        with suppress(OSError):
            for thread in os.scandir(f"/proc/{pid}/task"):
                with suppress(OSError), os.scandir(f"{thread.path}/fd") as entries:
                    yield from (entry.path for entry in entries)
        with suppress(OSError), open(f"/proc/{pid}/maps", errors="replace") as maps:
            for line in maps:
                begin, _, end = line.partition(" ")[0].partition("-")
                gone = line.endswith(" (deleted)\n")
                yield f"/proc/{pid}/map_files/{int(begin, 16):x}-{int(end, 16):x}" if gone else ""


def give_up_rights() -> None:
    """For the process that measures: look everywhere, change nothing."""
    sc.capset(_DAC_READ_SEARCH, _DAC_READ_SEARCH, 0)
    sc.prctl(sc.PR_SET_NO_NEW_PRIVS, 1)

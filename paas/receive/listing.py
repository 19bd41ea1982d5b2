"""git's listing of a tree, checked entry by entry and kept on disk, so that a long one costs no memory.

Runs in a confined child, on objects that a pusher made.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from paas.nouns.errors import BadInput
from paas.nouns.units import shown_memory
from paas.receive import git
from paas.receive.limits import Limits
from paas.receive.slugignore import NAME, SlugIgnore

MAX_PATH_BYTES = 3800
LINK, FOLDER, MODULE = "120000", "040000", "160000"
FILE_MODES = {"100644": 0o644, "100664": 0o644, "100755": 0o755}

_MODES = {*FILE_MODES, LINK, FOLDER, MODULE}
_MAX_NAMED = 3
_MAX_RECORD_BYTES = MAX_PATH_BYTES + 200
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Entry:
    """One file, symbolic link or folder of a tree."""

    path: bytes
    mode: str
    oid: bytes
    size: int

    @property
    def shown(self) -> str:
        return ascii(self.path.decode("utf-8", "backslashreplace"))

    def record(self) -> bytes:
        """The entry as `git ls-tree -z -l` prints it, without the type."""
        return b"%s %s %d\t%s\0" % (self.mode.encode(), self.oid, self.size, self.path)


def parse_entry(record: bytes) -> Entry:
    """An entry of `git ls-tree -z -l`, or of `Entry.record`."""
    meta, _, path = record.partition(b"\t")
    words = meta.split()
    return Entry(path, words[0].decode(), words[-2], 0 if words[-1] == b"-" else int(words[-1]))


def records(stream: IO[bytes]) -> Iterator[bytes]:
    """The NUL-terminated records of a stream. Raises BadInput for one longer than any path may be."""
    partial = b""
    while data := stream.read(_CHUNK):
        *whole, partial = (partial + data).split(b"\0")
        yield from whole
        if len(partial) > _MAX_RECORD_BYTES:
            raise BadInput(f"A path of more than {MAX_PATH_BYTES} bytes is too long.")


class Checks:
    """Refuses what cannot become a source: `check` each entry in the order of the listing, then `finish`."""

    def __init__(self, limits: Limits) -> None:
        self.files = 0
        self.bytes = 0
        self._limits = limits
        self._entries = 0
        self._path_bytes = 0
        self._modules: list[str] = []
        self._last = b""
        self._prefixes: list[bytes] = []
        """Files whose names later folders may repeat: each path begins with the one before it."""

    def check(self, entry: Entry, *, kept: bool = True) -> None:
        """What is not `kept` in the source costs time all the same, so it counts as an entry. Raises BadInput with one sentence."""
        self._check_path(entry)
        self._check_order(entry)
        self._entries += 1
        self._path_bytes += len(entry.path)
        if not kept:
            pass
        elif entry.mode == MODULE:
            self._modules.append(entry.shown)
        elif entry.mode != FOLDER:
            self.files += 1
            self.bytes += entry.size
        if self._entries > self._limits.files:
            raise BadInput(
                f"The commit has more than {self._limits.files} files and folders.", cause="too large"
            )
        if self._path_bytes > self._limits.path_bytes:
            raise BadInput(
                f"The paths of the commit's files have more than {shown_memory(self._limits.path_bytes)} together.",
                "Use shorter names, or fewer files in deep folders.",
                cause="too large",
            )

    def finish(self) -> None:
        """Check what only the whole listing shows. Raises BadInput."""
        if self._modules:
            more = len(self._modules) - _MAX_NAMED
            named = ", ".join(self._modules[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
            raise BadInput(
                f"Submodules are not fetched: {named}.",
                "Commit the files themselves, or list the code as a dependency.",
                cause="submodules",
            )
        if not self.files:
            raise BadInput(
                "The commit contains no files.", "Add the app's files with `git add`, commit, push again."
            )
        if self.bytes > self._limits.source_bytes:
            sentence = f"The commit's files have {shown_memory(self.bytes)}"
            raise BadInput(
                f"{sentence}; the limit is {shown_memory(self._limits.source_bytes)}.",
                "Remove large files from the commit; keep data elsewhere.",
                cause="too large",
            )

    def _check_path(self, entry: Entry) -> None:
        if entry.mode not in _MODES:
            raise BadInput(f"{entry.shown} has the mode {entry.mode}, which is none of git's.")
        if len(entry.path) > MAX_PATH_BYTES:
            raise BadInput(f"A path of {len(entry.path)} bytes is too long: {entry.shown[:60]}…")
        for part in entry.path.split(b"/"):
            if part in (b"", b".", b"..") or part.lower() == b".git" or len(part) > 255:
                raise BadInput(f"{entry.shown[:100]} is not a path that can be checked out.")

    def _check_order(self, entry: Entry) -> None:
        """git sorts by the bytes of the path, a folder's with `/` at its end; so a name that comes twice is noticed."""
        key = entry.path + b"/" if entry.mode == FOLDER else entry.path
        while self._prefixes and not entry.path.startswith(self._prefixes[-1]):
            self._prefixes.pop()
        if key <= self._last or (self._prefixes and self._prefixes[-1] == entry.path):
            raise BadInput(f"The tree names {entry.shown} twice, or is not sorted.")
        self._last = key
        if entry.mode != FOLDER:
            self._prefixes.append(entry.path)


class Listing:
    """The checked entries of a tree but those that `.slugignore` names, in an unnamed file below the folder `path`."""

    def __init__(self, repository: Path, tree: str, path: Path, limits: Limits, ignore: SlugIgnore) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_TMPFILE, 0o600)
        checks = Checks(limits)
        words = ("ls-tree", "-r", "-t", "-z", "-l", "--full-tree", tree)
        process = subprocess.Popen(
            git.command(repository, *words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=git.ENVIRONMENT,
        )
        assert process.stdout is not None
        with process, open(self._descriptor, "wb", closefd=False) as kept:
            for record in records(process.stdout):
                entry = parse_entry(record)
                keep = not ignore.leaves_out(entry.path, folder=entry.mode == FOLDER)
                checks.check(entry, kept=keep)
                if keep:
                    kept.write(entry.record())
        if process.returncode != 0:
            raise BadInput("The commit cannot be read.", "`git fsck` tells more.")
        if ignore.count and not checks.files:
            raise BadInput(f"{NAME} leaves out every file of the app.", "Remove patterns from it.")
        checks.finish()
        self.files, self.bytes, self.ignored = checks.files, checks.bytes, ignore.count

    def __iter__(self) -> Iterator[Entry]:
        """In the order of the paths' bytes, a folder before its content."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        with open(self._descriptor, "rb", closefd=False) as again:
            yield from map(parse_entry, records(again))

    def object_ids(self) -> int:
        """A descriptor that gives the object id of each file and link, one per line."""
        wanted = os.open(self._path, os.O_RDWR | os.O_TMPFILE, 0o600)
        with open(wanted, "wb", closefd=False) as ids:
            ids.writelines(entry.oid + b"\n" for entry in self if entry.mode != FOLDER)
        os.lseek(wanted, 0, os.SEEK_SET)
        return wanted

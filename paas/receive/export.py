"""A commit's tree becomes a source: one deterministic tar, and an index of each file's place in it.

Runs in a confined child. git reads the objects; nothing here follows a link, runs a filter or writes a file of the
tree. Neither the listing nor the index is ever in memory as a whole: a pusher decides how long they are.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

from paas.build.source import ENDINGS, index_record
from paas.nouns.errors import BadInput, Unavailable
from paas.nouns.names import OBJECT_ID
from paas.receive import git
from paas.receive.limits import Limits
from paas.receive.listing import FILE_MODES, FOLDER, LINK, MAX_PATH_BYTES, Entry, Listing
from paas.receive.objects import MAX_CONTENT_BYTES, folder_names, read_objects
from paas.receive.slugignore import NAME as SLUGIGNORE
from paas.receive.slugignore import SlugIgnore
from runtime.image.tarwriter import TarWriter

PREFIX = b"app/"
MAX_NAMED = 5
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\n"
LFS_POINTER_BYTES = 1024
"""A pointer of Git LFS begins with that line and has fewer bytes than this."""

_CHUNK = 1 << 20
_PIPE_BYTES = 1 << 18
_FOLDERS_NAMED = 8


@dataclass(frozen=True)
class Sample:
    """How many entries there are of a kind, and the names of the first ones."""

    count: int
    first: tuple[str, ...]

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Sample:
        return cls(int(data["count"]), tuple(str(name) for name in data["first"]))


@dataclass(frozen=True)
class Exported:
    """A source: its tree, the links that point out of it (`outside`), the files that are pointers of Git LFS, and how
    many files `.slugignore` left out."""

    tree: str
    outside: Sample
    pointers: Sample
    ignored: int = 0

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Exported:
        """Raises ValueError, KeyError, TypeError."""
        if not OBJECT_ID.fullmatch(data["tree"]):  # it becomes part of a path
            raise ValueError("not a tree id")
        outside, pointers = Sample.from_json(data["outside"]), Sample.from_json(data["pointers"])
        return cls(data["tree"], outside, pointers, int(data["ignored"]))


def leaves_tree(path: bytes, target: bytes) -> bool:
    """True if a symbolic link at `path` points out of its tree."""
    if target.startswith(b"/"):
        return True
    depth = path.count(b"/")
    for part in target.split(b"/"):
        depth += -1 if part == b".." else 0 if part in (b"", b".") else 1
        if depth < 0:
            return True
    return False


def export(repository: Path, commit: str, scratch: Path, limits: Limits, root: str = "") -> dict[str, Any]:
    """Write `TREE.tar`, `TREE.index` and `TREE.json` beside the folder `scratch` unless they exist; the last one's content.

    TREE is the tree of the commit's folder `root`. Raises BadInput.
    """
    inside = f"{root}/" if root else ""
    names = [commit, f"{commit}:{root}", f"{commit}:{inside}{SLUGIGNORE}"]
    pushed, folder, ignore = read_objects(repository, names)
    if pushed is None or pushed.kind != "commit":  # a tag that points to a commit is none
        raise BadInput("What was pushed is not a commit.", cause="no commit")
    if folder is None or folder.kind != "tree":
        raise _no_folder(repository, commit, root)
    patterns = ignore.content if ignore is not None and ignore.kind == "blob" else b""
    if ignore is not None and ignore.size > MAX_CONTENT_BYTES:
        raise BadInput(f"{SLUGIGNORE} is larger than {MAX_CONTENT_BYTES >> 10} KiB.")
    tree = folder.oid
    listing = Listing(repository, tree, scratch, limits, SlugIgnore(patterns))
    files = [scratch.parent / f"{tree}{ending}" for ending in ENDINGS]
    if not all(path.exists() for path in files):
        _write_source(repository, tree, listing, scratch)
    facts: dict[str, Any] = json.loads(files[-1].read_bytes())
    return facts


def _no_folder(repository: Path, commit: str, root: str) -> BadInput:
    """The sentence for a root that is no folder, with the folders that are where it begins to be wrong."""
    parts = root.split("/")
    parents = ["/".join(parts[:length]) for length in range(len(parts))]
    found = read_objects(repository, [f"{commit}:{parent}" for parent in parents])
    there = [
        (parent, tree) for parent, tree in zip(parents, found, strict=True) if tree and tree.kind == "tree"
    ]
    if not there:
        return BadInput("The commit names no tree.")
    parent, tree = there[-1]
    with closing(folder_names(repository, tree.oid)) as folders:
        names = list(islice(folders, _FOLDERS_NAMED + 1))
    listed = ", ".join([*names[:_FOLDERS_NAMED], *(["…"] if len(names) > _FOLDERS_NAMED else [])])
    return BadInput(
        f"The commit has no folder {root}, which is the app's root; folders in {parent or 'it'}: {listed or 'none'}.",
        "Choose another: paas builds:set root=FOLDER",
        cause="cannot be built",
    )


def _write_source(repository: Path, tree: str, listing: Listing, scratch: Path) -> None:
    tar, index, facts = (scratch / f"{tree}{ending}" for ending in ENDINGS)
    with open(_new(tar), "wb") as out, open(_new(index), "wb") as records:
        source = _Source(out, records)
        source.write(_contents(repository, listing))
    known = {"tree": tree, "files": listing.files, "bytes": listing.bytes, "ignored": listing.ignored}
    with open(_new(facts), "w") as text:
        json.dump({**known, "outside": source.outside.to_json(), "pointers": source.pointers.to_json()}, text)
    for path in (tar, index, facts):
        os.rename(path, scratch.parent / path.name)


def _new(path: Path) -> int:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    os.fchmod(
        descriptor, 0o644
    )  # the git daemon and the api share sources, in a folder that nobody else may enter
    return descriptor


class _Names:
    """Counts entries of a kind, and keeps the first ones."""

    def __init__(self) -> None:
        self._count = 0
        self._first: list[str] = []

    def add(self, entry: Entry) -> None:
        self._count += 1
        if len(self._first) < MAX_NAMED:
            self._first.append(entry.shown)

    def to_json(self) -> dict[str, Any]:
        return {"count": self._count, "first": self._first}


class _Source:
    """A tar and its index, written side by side."""

    def __init__(self, out: IO[bytes], index: IO[bytes]) -> None:
        self._tar = TarWriter(out.write)
        self._index = index
        self.outside = _Names()
        self.pointers = _Names()

    def write(self, contents: Iterator[tuple[Entry, IO[bytes]]]) -> None:
        """Every entry with its content; folders have none."""
        self._tar.directory(PREFIX.rstrip(b"/"))
        for entry, content in contents:
            path = PREFIX + entry.path
            if entry.mode == FOLDER:
                self._tar.directory(path)
            elif entry.mode == LINK:
                target = _link_target(entry, content)
                if leaves_tree(entry.path, target):
                    self.outside.add(entry)
                self._tar.symlink(path, target)
                self._record(entry, self._tar.offset)
            else:
                chunks = self._chunks(entry, content)
                self._record(entry, self._tar.file(path, FILE_MODES[entry.mode], entry.size, chunks))
        self._tar.finish()

    def _chunks(self, entry: Entry, content: IO[bytes]) -> Iterator[bytes]:
        left = entry.size
        while left:
            data = _exactly(content, min(left, _CHUNK), entry)
            if entry.size < LFS_POINTER_BYTES and data.startswith(LFS_POINTER):
                self.pointers.add(entry)
            yield data
            left -= len(data)

    def _record(self, entry: Entry, offset: int) -> None:
        mode = "100644" if entry.mode == "100664" else entry.mode  # old trees: git treats both alike
        self._index.write(index_record(entry.path, mode, entry.size, offset))


def _link_target(entry: Entry, content: IO[bytes]) -> bytes:
    if not 0 < entry.size <= MAX_PATH_BYTES:
        raise BadInput(f"The symbolic link {entry.shown} points nowhere.")
    target = _exactly(content, entry.size, entry)
    if b"\0" in target:
        raise BadInput(f"The symbolic link {entry.shown} points nowhere.")
    return target


def _exactly(content: IO[bytes], size: int, entry: Entry) -> bytes:
    data = content.read(size)
    if len(data) != size:
        raise BadInput(f"{entry.shown} cannot be read from the repository.")
    return data


def _contents(repository: Path, listing: Listing) -> Iterator[tuple[Entry, IO[bytes]]]:
    """Each entry with a stream of which exactly the entry's size must be read: one `git cat-file --batch` gives all."""
    wanted = listing.object_ids()
    try:
        process = subprocess.Popen(
            git.command(repository, "cat-file", "--batch", "--buffer"),
            stdin=wanted,
            stdout=subprocess.PIPE,
            env=git.ENVIRONMENT,
            bufsize=_PIPE_BYTES,
            pipesize=_PIPE_BYTES,
        )
    finally:
        os.close(wanted)
    assert process.stdout is not None
    with process:
        for entry in listing:
            if entry.mode == FOLDER:
                yield entry, process.stdout
                continue
            answer = process.stdout.readline().split()
            if len(answer) != 3 or answer[1] != b"blob" or int(answer[2]) != entry.size:
                raise BadInput(f"{entry.shown} cannot be read from the repository.")
            yield entry, process.stdout
            process.stdout.read(1)


def answer_in_child(work: Callable[[], dict[str, Any]]) -> None:
    """The work of a confined child: its answer, or the pusher's `{"error": …}`, as JSON on stdout."""
    try:
        answer = work()
    except BadInput as error:
        answer = {"error": error.to_json()}
    except OSError as error:
        sentence = f"The source cannot be written: {error.strerror}."
        answer = {"error": Unavailable(sentence, "Tell the platform's operator.").to_json()}
    except MemoryError:
        answer = {"error": BadInput("A file in it is too large to be read.").to_json()}
    sys.stdout.flush()
    os.write(1, json.dumps(answer).encode())

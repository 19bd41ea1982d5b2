"""A commit's tree becomes a source: one deterministic tar and an index of what lies where in it.

Runs in a confined child; git reads the objects, nothing here follows a link, runs a filter or writes a file of the
tree. Neither the listing nor the index is ever in memory as a whole: a pusher decides how long they are.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from paas.build.source import ENDINGS, index_record
from paas.nouns.errors import BadInput, Unavailable
from paas.receive.children import ENVIRONMENT, git
from paas.receive.limits import Limits
from paas.receive.listing import FILE_MODES, FOLDER, LINK, MAX_PATH_BYTES, Entry, Listing

PREFIX = b"app/"
EPOCH = 315532800
"""Every entry's time: 1980-01-01, the first that zip files can hold."""

OWNER = 1000
MAX_NAMED = 5
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\n"
LFS_POINTER_BYTES = 1024
"""A pointer of Git LFS begins with that line and has fewer bytes than this."""

_BLOCK = 512
_CHUNK = 1 << 20
_MAX_COMMIT_BYTES = 64 * 1024


@dataclass(frozen=True)
class Commit:
    """What a deployment is told of a commit; every text is one harmless line."""

    tree: str
    subject: str
    author: str


def parse_commit(raw: bytes) -> Commit:
    """The tree, the author's address and the first line of a commit object. Raises BadInput."""
    head, _, message = raw.partition(b"\n\n")
    fields: dict[bytes, bytes] = {}
    for line in head.split(b"\n"):
        field, _, value = line.partition(b" ")
        fields.setdefault(field, value)
    tree = fields.get(b"tree", b"").decode("ascii", "replace")
    if len(tree) != 40:
        raise BadInput("The commit names no tree.")
    author = fields.get(b"author", b"").decode("utf-8", "replace")
    name, _, rest = author.partition("<")
    address = rest.partition(">")[0]
    subject = message.strip().split(b"\n")[0][:300].decode("utf-8", "replace")
    return Commit(tree, _plain(subject), _plain(address or name.strip())[:200])


def _plain(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable())


def leaves_tree(path: bytes, target: bytes) -> bool:
    """Whether a symbolic link points outside of the tree it is in."""
    if target.startswith(b"/"):
        return True
    depth = path.count(b"/")
    for part in target.split(b"/"):
        depth += -1 if part == b".." else 0 if part in (b"", b".") else 1
        if depth < 0:
            return True
    return False


def header(name: bytes, *, size: int, mode: int, kind: bytes, link: bytes = b"") -> bytes:
    """A tar header (POSIX ustar; GNU long names before it where 100 bytes do not do)."""
    out = b""
    for letter, text in ((b"K", link), (b"L", name)):
        if len(text) > 100:
            body = text + b"\0"
            out += _block(b"././@LongLink", len(body), 0, letter, b"") + _padded(body)
    return out + _block(name[:100], size, mode, kind, link[:100])


def _block(name: bytes, size: int, mode: int, kind: bytes, link: bytes) -> bytes:
    block = b"%s%07o\0%07o\0%07o\0%011o\0%011o\0        %s%sustar\x0000%s%s%s" % (
        name.ljust(100, b"\0"), mode, OWNER, OWNER, size, EPOCH, kind, link.ljust(100, b"\0"),
        bytes(64), b"0000000\x000000000\0", bytes(167),
    )  # fmt: skip
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _padded(body: bytes) -> bytes:
    return body + bytes(-len(body) % _BLOCK)


def export(repository: Path, commit: str, scratch: Path, limits: Limits) -> dict[str, Any]:
    """Write `TREE.tar`, `TREE.index` and `TREE.json` beside the folder `scratch` unless they are there.

    Answers what it knows of the commit: `tree, subject, author`, and of the tree what TREE.json says: `files, bytes`,
    the links that leave the tree (`outside`) and the files that are pointers of Git LFS (`pointers`). Raises BadInput.
    """
    told = parse_commit(_commit(repository, commit))
    listing = Listing(repository, told.tree, scratch, limits)
    there = [scratch.parent / f"{told.tree}{ending}" for ending in ENDINGS]
    if not all(path.exists() for path in there):
        _write_source(repository, told.tree, listing, scratch)
    known = json.loads(there[-1].read_bytes())
    return {**known, "tree": told.tree, "subject": told.subject, "author": told.author}


def _write_source(repository: Path, tree: str, listing: Listing, scratch: Path) -> None:
    tar, index, facts = (scratch / f"{tree}{ending}" for ending in ENDINGS)
    with open(_new(tar), "wb") as out, open(_new(index), "wb") as notes:
        source = _Source(out, notes)
        source.write(_contents(repository, listing))
    known = {"tree": tree, "files": listing.files, "bytes": listing.bytes}
    with open(_new(facts), "w") as text:
        json.dump({**known, "outside": source.outside.told(), "pointers": source.pointers.told()}, text)
    for path in (tar, index, facts):
        os.rename(path, scratch.parent / path.name)


def _new(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)


def _commit(repository: Path, oid: str) -> bytes:
    """The beginning of the commit object, which is all that is told of it; a tag of a commit is none."""
    process = subprocess.Popen(
        git(repository, "cat-file", "--batch"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    assert process.stdin is not None and process.stdout is not None
    with process:
        process.stdin.write(oid.encode() + b"\n")
        process.stdin.close()
        words = process.stdout.readline().split()
        if words[1:2] != [b"commit"]:
            raise BadInput("What was pushed is not a commit.", cause="no commit")
        return process.stdout.read(min(int(words[2]), _MAX_COMMIT_BYTES))


class _Named:
    """How many entries there are of a kind, and the first ones."""

    def __init__(self) -> None:
        self._count = 0
        self._first: list[str] = []

    def add(self, entry: Entry) -> None:
        self._count += 1
        if len(self._first) < MAX_NAMED:
            self._first.append(entry.shown)

    def told(self) -> dict[str, Any]:
        return {"count": self._count, "first": self._first}


class _Source:
    """A tar and its index, written side by side."""

    def __init__(self, out: IO[bytes], index: IO[bytes]) -> None:
        self._out = out
        self._index = index
        self._position = 0
        self.outside = _Named()
        self.pointers = _Named()

    def write(self, contents: Iterator[tuple[Entry, IO[bytes]]]) -> None:
        """Every entry with its content; folders have none."""
        self._put(header(PREFIX, size=0, mode=0o755, kind=b"5"))
        for entry, content in contents:
            if entry.mode == FOLDER:
                self._put(header(PREFIX + entry.path + b"/", size=0, mode=0o755, kind=b"5"))
            elif entry.mode == LINK:
                target = _link_target(entry, content)
                if leaves_tree(entry.path, target):
                    self.outside.add(entry)
                self._put(header(PREFIX + entry.path, size=0, mode=0o777, kind=b"2", link=target))
                self._note(entry)
            else:
                self._file(entry, content)
        self._put(bytes(2 * _BLOCK))

    def _file(self, entry: Entry, content: IO[bytes]) -> None:
        self._put(header(PREFIX + entry.path, size=entry.size, mode=FILE_MODES[entry.mode], kind=b"0"))
        self._note(entry)
        left = entry.size
        while left:
            data = _exactly(content, min(left, _CHUNK), entry)
            if entry.size < LFS_POINTER_BYTES and data.startswith(LFS_POINTER):
                self.pointers.add(entry)
            self._put(data)
            left -= len(data)
        self._put(bytes(-entry.size % _BLOCK))

    def _put(self, data: bytes) -> None:
        self._position += self._out.write(data)

    def _note(self, entry: Entry) -> None:
        mode = "100644" if entry.mode == "100664" else entry.mode
        self._index.write(index_record(entry.path, mode, entry.size, self._position))


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
    """Each entry with a stream, from one `git cat-file --batch`, of which exactly the entry's size must be read."""
    wanted = listing.object_ids()
    try:
        process = subprocess.Popen(
            git(repository, "cat-file", "--batch", "--buffer"),
            stdin=wanted,
            stdout=subprocess.PIPE,
            env=ENVIRONMENT,
            bufsize=1 << 18,
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


def export_in_child(repository: Path, commit: str, scratch: Path, limits: Limits) -> None:
    """`export` for a confined child: JSON to stdout, `{"error": …}` when the pusher must be told."""
    try:
        answer = export(repository, commit, scratch, limits)
    except BadInput as error:
        answer = {"error": error.to_json()}
    except OSError as error:
        sentence = f"The source cannot be written: {error.strerror}."
        answer = {"error": Unavailable(sentence, "Tell the platform's operator.").to_json()}
    except MemoryError:
        answer = {"error": BadInput("A file of the commit is too large to be read.").to_json()}
    sys.stdout.flush()
    os.write(1, json.dumps(answer).encode())

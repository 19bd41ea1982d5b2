"""A commit's tree becomes a source: one deterministic tar and an index of what lies where in it.

Runs in a confined child; git reads the objects, nothing here follows a link, runs a filter or writes a file of the
tree. Names are bytes until the index, where what is not UTF-8 becomes `\\udcXX` (PEP 383).
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

from paas.errors import BadInput, Unavailable
from paas.git.children import ENVIRONMENT, git
from paas.git.limits import Limits, human

PREFIX = b"app/"
EPOCH = 315532800
"""Every entry's time: 1980-01-01, the first that zip files can hold."""

OWNER = 1000
MAX_PATH_BYTES = 3800
MAX_NAMED = 3

LINK = "120000"

_BLOCK = 512
_CHUNK = 1 << 20
_MODES = {"100644": 0o644, "100664": 0o644, "100755": 0o755, LINK: 0o777}


@dataclass(frozen=True)
class Entry:
    """One file or symbolic link of the tree."""

    path: bytes
    mode: str
    oid: bytes
    size: int

    @property
    def shown(self) -> str:
        return ascii(self.path.decode("utf-8", "backslashreplace"))


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


def parse_entries(listing: bytes) -> list[Entry]:
    """What `git ls-tree -r -z -l` printed, in the order of the paths' bytes."""
    entries = []
    for record in listing.split(b"\0"):
        if record:
            meta, _, path = record.partition(b"\t")
            mode, _, oid, size = meta.split()
            entries.append(Entry(path, mode.decode(), oid, 0 if size == b"-" else int(size)))
    return sorted(entries, key=lambda entry: entry.path)


def check_entries(entries: list[Entry], limits: Limits) -> None:
    """Refuse what cannot become a source. Raises BadInput with one sentence."""
    if not entries:
        raise BadInput(
            "The commit contains no files.", "Add the app's files with `git add`, commit, push again."
        )
    modules = [entry for entry in entries if entry.mode == "160000"]
    if modules:
        raise BadInput(
            f"Submodules are not fetched: {_named(modules)}.",
            "Commit the files themselves, or list the code as a dependency.",
            cause="submodules",
        )
    if len(entries) > limits.files:
        raise BadInput(f"The commit contains {len(entries)} files; {limits.files} are allowed.")
    total = sum(entry.size for entry in entries)
    if total > limits.source_bytes:
        raise BadInput(
            f"The commit's files have {human(total)}; the limit is {human(limits.source_bytes)}.",
            "Remove large files from the commit; keep data elsewhere.",
            cause="too large",
        )
    taken: set[bytes] = set()
    for entry in entries:
        _check_path(entry)
        if entry.path in taken:
            raise BadInput(f"The tree names {entry.shown} twice.")
        taken.add(entry.path)
    for folder in _folders(entries):
        if folder in taken:
            raise BadInput(f"The tree names {folder.decode('utf-8', 'replace')!a} twice.")


def _check_path(entry: Entry) -> None:
    if entry.mode not in _MODES:
        raise BadInput(f"{entry.shown} has the mode {entry.mode}, which is none of git's.")
    if len(entry.path) > MAX_PATH_BYTES:
        raise BadInput(f"A path of {len(entry.path)} bytes is too long: {entry.shown[:60]}…")
    for part in entry.path.split(b"/"):
        if part in (b"", b".", b"..") or part.lower() == b".git" or len(part) > 255:
            raise BadInput(f"{entry.shown[:100]} is not a path that can be checked out.")


def _named(entries: list[Entry]) -> str:
    names = ", ".join(entry.shown for entry in entries[:MAX_NAMED])
    return names + (f" and {len(entries) - MAX_NAMED} more" if len(entries) > MAX_NAMED else "")


def _folders(entries: list[Entry]) -> Iterator[bytes]:
    """Every folder once, parents first."""
    seen: set[bytes] = set()
    for entry in entries:
        parts = entry.path.split(b"/")[:-1]
        for depth in range(1, len(parts) + 1):
            folder = b"/".join(parts[:depth])
            if folder not in seen:
                seen.add(folder)
                yield folder


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
    """Write `TREE.tar` and `TREE.json` beside the folder `scratch` unless they are there; tell about the commit.

    Answers `tree, subject, author, files, bytes, outside` (links that leave the tree). Raises BadInput.
    """
    told = parse_commit(_commit(repository, commit))
    entries = parse_entries(_git_output(repository, "ls-tree", "-r", "-z", "-l", "--full-tree", told.tree))
    check_entries(entries, limits)
    total = sum(entry.size for entry in entries)
    if not all((scratch.parent / f"{told.tree}.{ending}").exists() for ending in ("tar", "json")):
        _write_source(repository, told.tree, entries, total, scratch)
    return {
        "tree": told.tree, "subject": told.subject, "author": told.author,
        "files": len(entries), "bytes": total, "outside": _outside(repository, entries, scratch),
    }  # fmt: skip


def _write_source(repository: Path, tree: str, entries: list[Entry], total: int, scratch: Path) -> None:
    tar, index = scratch / f"{tree}.tar", scratch / f"{tree}.json"
    with open(os.open(tar, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), "wb") as out:
        files = _write_tar(out, repository, entries, scratch)
    with open(os.open(index, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), "w") as text:
        json.dump({"tree": tree, "files": files, "bytes": total}, text, separators=(",", ":"))
    for path in (tar, index):
        os.rename(path, scratch.parent / path.name)


def _commit(repository: Path, oid: str) -> bytes:
    """The commit object itself; a tag of one is none."""
    command = git(repository, "cat-file", "--batch")
    asked = oid.encode() + b"\n"
    done = subprocess.run(command, input=asked, capture_output=True, env=ENVIRONMENT, check=False)
    head, _, body = done.stdout.partition(b"\n")
    if head.split()[1:2] != [b"commit"]:
        raise BadInput("What was pushed is not a commit.", cause="no commit")
    return body[:-1]


def _git_output(repository: Path, *words: str) -> bytes:
    done = subprocess.run(
        git(repository, *words), stdin=subprocess.DEVNULL, capture_output=True, env=ENVIRONMENT, check=False
    )
    if done.returncode != 0:
        raise BadInput("The commit cannot be read.", done.stderr.decode("utf-8", "replace").strip()[-300:])
    return done.stdout


def _write_tar(
    out: IO[bytes], repository: Path, entries: list[Entry], scratch: Path
) -> dict[str, dict[str, Any]]:
    files: dict[str, dict[str, Any]] = {}
    position = out.write(header(PREFIX, size=0, mode=0o755, kind=b"5"))
    written: set[bytes] = set()
    for entry, content in _contents(repository, entries, scratch):
        for folder in _folders([entry]):
            if folder not in written:
                written.add(folder)
                position += out.write(header(PREFIX + folder + b"/", size=0, mode=0o755, kind=b"5"))
        if entry.mode == LINK:
            target = _link_target(entry, content)
            out.write(head := header(PREFIX + entry.path, size=0, mode=0o777, kind=b"2", link=target))
            position += len(head)
            _note(files, entry, position)
            continue
        position += out.write(
            header(PREFIX + entry.path, size=entry.size, mode=_MODES[entry.mode], kind=b"0")
        )
        _note(files, entry, position)
        left = entry.size
        while left:
            left -= out.write(_exactly(content, min(left, _CHUNK), entry))
        position += entry.size + out.write(bytes(-entry.size % _BLOCK))
    out.write(bytes(2 * _BLOCK))
    return files


def _note(files: dict[str, dict[str, Any]], entry: Entry, offset: int) -> None:
    mode = "100644" if entry.mode == "100664" else entry.mode
    files[os.fsdecode(entry.path)] = {"mode": mode, "size": entry.size, "offset": offset}


def _link_target(entry: Entry, content: IO[bytes]) -> bytes:
    if not 0 < entry.size <= MAX_PATH_BYTES:
        raise BadInput(f"The symbolic link {entry.shown} points nowhere.")
    target = _exactly(content, entry.size, entry)
    if b"\0" in target:
        raise BadInput(f"The symbolic link {entry.shown} points nowhere.")
    return target


def _outside(repository: Path, entries: list[Entry], scratch: Path) -> list[str]:
    """The links that leave the tree."""
    links = [entry for entry in entries if entry.mode == LINK]
    if not links:
        return []
    found = _contents(repository, links, scratch)
    return [entry.shown for entry, content in found if leaves_tree(entry.path, _link_target(entry, content))]


def _exactly(content: IO[bytes], size: int, entry: Entry) -> bytes:
    data = content.read(size)
    if len(data) != size:
        raise BadInput(f"{entry.shown} cannot be read from the repository.")
    return data


def _contents(repository: Path, entries: list[Entry], scratch: Path) -> Iterator[tuple[Entry, IO[bytes]]]:
    """Each entry with a stream of which exactly its size must be read, from one `git cat-file --batch`."""
    wanted = os.open(scratch, os.O_RDWR | os.O_TMPFILE, 0o600)
    try:
        with open(wanted, "wb", closefd=False) as names:
            names.writelines(entry.oid + b"\n" for entry in entries)
        os.lseek(wanted, 0, os.SEEK_SET)
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
        for entry in entries:
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

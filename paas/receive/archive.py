"""An archive becomes a commit of a new repository: what it holds goes to `git fast-import`, and nothing is unpacked.

Runs in a confined child. Formats: tar, plain or compressed with gzip, bzip2 or xz, and zip. From there on an archive is
treated as a push is: the same checks of names and sizes, the same `.slugignore`, the same source.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import subprocess
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from paas.nouns.errors import BadInput
from paas.nouns.names import OBJECT_ID
from paas.nouns.text import quoted
from paas.nouns.units import shown_memory
from paas.receive import git
from paas.receive.limits import Limits
from paas.receive.listing import LINK, MAX_PATH_BYTES

_BRANCH = "refs/heads/archive"
_CHUNK = 1 << 20
_HEAD_BYTES = 8
MOST_IN_FOLDER = 50_000
"""git-fast-import(1) looks through a whole folder for each of its files: 200,000 in one cost two minutes of a processor."""
_ZIP = (b"PK\3\4", b"PK\5\6")
_COMPRESSED: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}
_FOLDER = r"[A-Za-z0-9_+@][A-Za-z0-9._+@-]{0,200}"
_TOP = re.compile(_FOLDER.encode() + b"/")
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,
    NotImplementedError,
    ValueError,
)
"""What Python's readers raise for an archive that is damaged, encrypted or of a kind they do not know."""


@dataclass(frozen=True)
class Imported:
    """The commit that an archive became, and `top`, the one folder that everything is in, or an empty text."""

    commit: str
    top: str

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Imported:
        """Raises ValueError, KeyError, TypeError."""
        if not OBJECT_ID.fullmatch(data["commit"]) or not re.fullmatch(_FOLDER, data["top"] or "x"):
            raise ValueError("not what the importer answers")
        return cls(data["commit"], data["top"])


@dataclass(frozen=True)
class _Item:
    """A file or link of an archive; `link` is another name of a file that came before (a hard link)."""

    path: bytes
    mode: str
    size: int
    content: IO[bytes] | None
    link: bytes = b""


def import_archive(repository: Path, archive: IO[bytes], limits: Limits) -> dict[str, Any]:
    """Make the commit; the fields of `Imported`. Raises BadInput."""
    settings = ("-c", "core.compression=1", "-c", "fastimport.unpackLimit=1")
    words = ("fast-import", "--quiet", "--depth=0")
    process = subprocess.Popen(
        git.command(repository, *settings, *words),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=git.ENVIRONMENT,
        bufsize=1 << 18,
    )
    assert process.stdin is not None
    try:
        with process:
            found = _Import(process.stdin, limits)
            for item in _items(archive):
                found.add(item)
            process.stdin.write(b"\ndone\n")
    except BrokenPipeError:
        pass
    except _BROKEN as error:
        raise BadInput(f"The archive cannot be read: {_reason(error)}.", cause="broken archive") from error
    if process.returncode != 0:
        raise BadInput("git cannot take the archive's names.", cause="broken archive")
    if not found.files:
        raise BadInput("The archive contains no files.", cause="empty archive")
    return {"commit": (repository / _BRANCH).read_text().strip(), "top": found.top}


class _Import:
    """The stream for git-fast-import(1)."""

    def __init__(self, out: IO[bytes], limits: Limits) -> None:
        self._out, self._limits = out, limits
        self._entries = self._bytes = self._path_bytes = 0
        self._tops: set[bytes] = set()
        self._seen: set[bytes] = set()
        self._folders: Counter[bytes] = Counter()
        out.write(b"feature done\ncommit %s\n" % _BRANCH.encode())
        out.write(b"committer paas <paas@localhost> 0 +0000\ndata 0\n\n")

    @property
    def files(self) -> int:
        return len(self._seen)

    @property
    def top(self) -> str:
        """As archives of forges have it: a folder beside which there is nothing."""
        names = list(self._tops)
        return names[0][:-1].decode() if len(names) == 1 and _TOP.fullmatch(names[0]) else ""

    def add(self, item: _Item) -> None:
        self._count(item)
        path = _clean(item.path)
        if path is None:
            return
        top, slash, _ = path.partition(b"/")
        self._tops.add(top + slash)
        if item.link:
            source = _clean(item.link)
            if source not in self._seen:
                raise BadInput(f"{_shown(path)} is a hard link to a file that did not come before it.")
            self._out.write(b"C %s %s\n" % (_c_quoted(source or b""), _c_quoted(path)))
        else:
            self._out.write(b"M %s inline %s\n" % (item.mode.encode(), _c_quoted(path)))
            self._out.write(b"data %d\n" % item.size)
            self._copy(path, item)
        self._seen.add(path)
        self._count_in_folder(path)

    def _count_in_folder(self, path: bytes) -> None:
        folder = path.rpartition(b"/")[0]
        self._folders[folder] += 1
        if self._folders[folder] > MOST_IN_FOLDER:
            where = f"The folder {_shown(folder)}" if folder else "The top folder"
            raise BadInput(
                f"{where} of the archive has more than {MOST_IN_FOLDER} files.",
                "Divide it into several folders.",
                cause="too large",
            )

    def _count(self, item: _Item) -> None:
        limits = self._limits
        self._entries += 1
        self._bytes += item.size
        self._path_bytes += len(item.path)
        if self._entries > limits.files or self._path_bytes > limits.path_bytes:
            raise BadInput(f"The archive has more than {limits.files} entries.", cause="too large")
        if self._bytes > limits.source_bytes:
            raise BadInput(
                f"The archive unpacks to more than {shown_memory(limits.source_bytes)}.",
                "Leave large files out of it; keep data elsewhere.",
                cause="too large",
            )

    def _copy(self, path: bytes, item: _Item) -> None:
        left = item.size
        while left:
            data = item.content.read(min(left, _CHUNK)) if item.content is not None else b""
            if not data:
                raise BadInput(f"The archive ends within {_shown(path)}.", cause="broken archive")
            self._out.write(data)
            left -= len(data)
        self._out.write(b"\n")


def _items(archive: IO[bytes]) -> Iterator[_Item]:
    head = archive.read(_HEAD_BYTES)
    archive.seek(0)
    if head.startswith(_ZIP):
        yield from _zip_items(archive)
        return
    opener = next((opener for magic, opener in _COMPRESSED.items() if head.startswith(magic)), None)
    plain = opener(archive) if opener else archive
    try:
        reader = tarfile.open(fileobj=plain, mode="r|")  # noqa: SIM115
    except tarfile.ReadError:
        raise BadInput(
            "This is no archive that can be read.",
            "Send a .tar, .tar.gz, .tar.bz2, .tar.xz or .zip; for a commit: git archive -o app.tgz HEAD",
            cause="no archive",
        ) from None
    with closing(reader):
        for entry in reader:
            yield from _tar_item(reader, entry)
            reader.members = []  # type: ignore[attr-defined]  # else it keeps every entry
    while plain.read(_CHUNK):  # a checksum at the end tells whether all came
        pass


def _tar_item(reader: tarfile.TarFile, entry: tarfile.TarInfo) -> Iterator[_Item]:
    path = entry.name.encode("utf-8", "surrogateescape")
    target = entry.linkname.encode("utf-8", "surrogateescape")
    if entry.isfile():
        mode = "100755" if entry.mode & 0o100 else "100644"
        yield _Item(path, mode, entry.size, reader.extractfile(entry))
    elif entry.issym():
        yield _link(path, target)
    elif entry.islnk():
        yield _Item(path, "", 0, None, target)
    elif not entry.isdir():
        raise BadInput(f"{_shown(path)} is neither a file, nor a folder, nor a link.")


def _zip_items(archive: IO[bytes]) -> Iterator[_Item]:
    with zipfile.ZipFile(archive) as reader:
        for entry in reader.infolist():
            if entry.is_dir():
                continue
            path = entry.filename.encode("utf-8", "surrogateescape")
            kind = entry.external_attr >> 16
            with reader.open(entry) as content:
                if kind & 0o170000 == 0o120000:
                    yield _link(path, content.read(MAX_PATH_BYTES + 1))
                else:
                    mode = "100755" if kind & 0o100 else "100644"
                    yield _Item(path, mode, entry.file_size, content)


def _link(path: bytes, target: bytes) -> _Item:
    return _Item(path, LINK, len(target), io.BytesIO(target))


def _clean(path: bytes) -> bytes | None:
    """The path as git has it; None for what is in a folder `.git`. Raises BadInput for one that leads out."""
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if b".." in parts or path.startswith(b"/") or not parts:
        raise BadInput(f"{_shown(path)} is no path within the archive.", cause="bad path")
    return None if any(part.lower() == b".git" for part in parts) else b"/".join(parts)


def _c_quoted(path: bytes) -> bytes:
    """As git-fast-import(1) reads any path."""
    plain = b"".join(b"\\%03o" % byte if byte in b'"\\\n' else bytes((byte,)) for byte in path)
    return b'"%s"' % plain


def _shown(path: bytes) -> str:
    return quoted(path.decode("utf-8", "backslashreplace")[:200])


def _reason(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")[:200]

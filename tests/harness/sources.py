"""Sources for tests: a tree in memory, and a folder exported as the git daemon exports a commit."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from paas.build.source import ENDINGS, index_record

EPOCH = 315532800


class DictTree:
    """A `buildpacks.plan.Tree` made of a dictionary."""

    def __init__(self, files: Mapping[str, str | bytes]) -> None:
        self.files = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}

    def names(self) -> Iterable[str]:
        return list(self.files)

    def links(self) -> Iterable[str]:
        return []

    def exists(self, path: str) -> bool:
        return path in self.files

    def read(self, path: str, limit: int = 1 << 20) -> bytes:
        if path not in self.files:
            raise FileNotFoundError(path)
        if len(self.files[path]) > limit:
            raise ValueError(path)
        return self.files[path]


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by relative path."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and "node_modules" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def export(files: Mapping[str, str | bytes], sources: Path, links: Mapping[str, str] | None = None) -> str:
    """Write the files of a source; the tree's id. Names ending in `.sh` are executable."""
    data = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}
    entries: dict[str, tuple[str, bytes]] = {
        path: ("100755" if path.endswith(".sh") else "100644", content) for path, content in data.items()
    }
    entries |= {path: ("120000", target.encode()) for path, target in (links or {}).items()}
    tree = hashlib.sha1(repr(sorted(entries.items())).encode()).hexdigest()
    buffer, index = io.BytesIO(), b""
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        made = set()
        for path in sorted(entries, key=os.fsencode):
            parts = ["app", *path.split("/")]
            for depth in range(1, len(parts)):
                folder = "/".join(parts[:depth])
                if folder not in made:
                    made.add(folder)
                    tar.addfile(_entry(folder, tarfile.DIRTYPE, 0o755))
            mode, content = entries[path]
            index += index_record(
                os.fsencode(path), mode, len(content), _add(tar, buffer, "app/" + path, mode, content)
            )
    sources.mkdir(parents=True, exist_ok=True)
    total = sum(len(content) for _, content in entries.values())
    facts = json.dumps({"tree": tree, "files": len(entries), "bytes": total}).encode()
    for ending, content in zip(ENDINGS, (buffer.getvalue(), index, facts), strict=True):
        name = tree + ending
        fresh = sources / f".{name}-{threading.get_ident()}"
        fresh.write_bytes(content)
        fresh.rename(sources / name)
    return tree


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime, entry.uid, entry.gid = kind, mode, EPOCH, 1000, 1000
    return entry


def _add(tar: tarfile.TarFile, buffer: io.BytesIO, name: str, mode: str, content: bytes) -> int:
    """Where in the tar the content lies."""
    if mode == "120000":
        entry = _entry(name, tarfile.SYMTYPE, 0o777)
        entry.linkname = os.fsdecode(content)
        tar.addfile(entry)
        return buffer.tell()
    entry = _entry(name, tarfile.REGTYPE, 0o755 if mode == "100755" else 0o644)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))
    padded = -(-len(content) // 512) * 512
    return buffer.tell() - padded

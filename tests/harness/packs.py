"""Git objects and packs made by hand, as no git client would make them."""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass, field

COMMIT, TREE, BLOB, TAG, OFS_DELTA, REF_DELTA = 1, 2, 3, 4, 6, 7
ZERO = "0" * 40
_NAMES = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob", TAG: b"tag"}


def size_bytes(kind: int, size: int) -> bytes:
    """The head of an object in a pack."""
    byte, size = kind << 4 | size & 15, size >> 4
    out = bytearray()
    while size:
        out.append(byte | 0x80)
        byte, size = size & 0x7F, size >> 7
    out.append(byte)
    return bytes(out)


def delta_size(size: int) -> bytes:
    """A size inside of a delta."""
    out = bytearray()
    while size > 0x7F:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    out.append(size)
    return bytes(out)


@dataclass
class Pack:
    """A pack under construction; `raw` entries go in as they are."""

    entries: list[bytes] = field(default_factory=list)

    def add(self, kind: int, data: bytes) -> str:
        """An object; its id."""
        self.entries.append(size_bytes(kind, len(data)) + zlib.compress(data))
        return hashlib.sha1(_NAMES[kind] + b" %d\0" % len(data) + data).hexdigest()

    def raw(self, entry: bytes) -> None:
        self.entries.append(entry)

    def blob(self, data: bytes = b"hello\n") -> str:
        return self.add(BLOB, data)

    def tree(self, *entries: tuple[str, bytes, str]) -> str:
        """Entries are mode, name, id, in the order given."""
        data = b"".join(
            mode.encode() + b" " + name + b"\0" + bytes.fromhex(oid) for mode, name, oid in entries
        )
        return self.add(TREE, data)

    def commit(self, tree: str, message: bytes = b"evil", parents: tuple[str, ...] = ()) -> str:
        lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
        lines += ["author E <e@example.com> 1700000000 +0000", "committer E <e@example.com> 1700000000 +0000"]
        return self.add(COMMIT, "\n".join(lines).encode() + b"\n\n" + message + b"\n")

    def bytes(self, count: int | None = None, version: int = 2) -> bytes:
        body = b"PACK" + struct.pack(">II", version, len(self.entries) if count is None else count)
        body += b"".join(self.entries)
        return body + hashlib.sha1(body).digest()


def commit_of(*entries: tuple[str, bytes, str | bytes]) -> tuple[Pack, str]:
    """A pack with one commit of these entries; bytes in place of an id become a blob."""
    pack = Pack()
    made = [(mode, name, pack.blob(oid) if isinstance(oid, bytes) else oid) for mode, name, oid in entries]
    return pack, pack.commit(pack.tree(*made))

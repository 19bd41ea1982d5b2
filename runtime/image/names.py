"""Names inside a layer: which are allowed, and the meaning of `.wh.` names (OCI image-spec, layer.md).

Pure. Paths are bytes, relative, without a slash at either end: `app/web.py`.
"""

from __future__ import annotations

import re

from runtime.image.errors import BadArchive

MAX_NAME = 255
MAX_PATH = 4000
"""Below PATH_MAX (4096), so that every path stays reachable under a container's root."""

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


def shown(path: bytes) -> str:
    """A path for messages: printable, at most 120 characters."""
    text = ascii(path.decode("utf-8", "replace"))[1:-1]
    return text if len(text) <= 120 else text[:100] + "…"


def normal(path: bytes) -> bytes:
    """The normal form of a path in an archive; empty for the root itself. Raises BadArchive."""
    if path.startswith(b"/"):
        raise BadArchive(f"{shown(path)}: an absolute path")
    parts = path.rstrip(b"/").split(b"/") if path.strip(b"/") else []
    while parts and parts[0] == b".":
        del parts[0]
    if not path or any(part in (b"", b".", b"..") for part in parts):
        raise BadArchive(f"{shown(path)}: an empty name, '.' or '..' in a path")
    check(b"/".join(parts))
    return b"/".join(parts)


def check(path: bytes) -> None:
    """Raise BadArchive for a path that is too long or holds a NUL byte."""
    if len(path) > MAX_PATH:
        raise BadArchive(f"{shown(path)}: a path of {len(path)} bytes, more than {MAX_PATH}")
    if b"\0" in path or any(len(part) > MAX_NAME for part in path.split(b"/")):
        raise BadArchive(f"{shown(path)}: a name of more than {MAX_NAME} bytes")


def split(path: bytes) -> tuple[bytes, bytes]:
    """Folder and last name: `a/b/c` → `a/b`, `c`; the folder of a top-level name is empty."""
    folder, _, name = path.rpartition(b"/")
    return folder, name


def join(folder: bytes, name: bytes) -> bytes:
    """The inverse of `split`."""
    return folder + b"/" + name if folder else name


def hidden(name: bytes) -> bytes | None:
    """The name that a whiteout entry hides, None for an ordinary name. Raises BadArchive for a bad whiteout."""
    if not name.startswith(WHITEOUT):
        return None
    victim = name[len(WHITEOUT) :]
    if victim in (b"", b".", b"..") or victim.startswith(WHITEOUT):
        raise BadArchive(f"{shown(name)}: not a whiteout that this platform knows")
    return victim


def digest_hex(digest: str) -> str:
    """The 64 hex digits of `sha256:…`. Raises ValueError."""
    match = _DIGEST.fullmatch(digest)
    if match is None:
        raise ValueError(f"{digest[:80]!r} is not a sha256 digest")
    return match.group(1)

"""Files beside the router's table: certificates and pages, named by their content, so that a change is a new name.

They lie in `HOME/edge/KIND/`; the folders' set-group-id bit lets router workers read what the control plane writes.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from runtime.kernel import files

YOUNG_S = 3600.0
"""A younger file stays: its row may not be written yet, or a worker may still have an older table."""


def put(folder: Path, kind: str, suffix: str, data: bytes) -> str:
    """Keep `data` as `folder/kind/SHA256suffix` (mode 0640), whole after any crash; the name. Raises OSError."""
    name = hashlib.sha256(data).hexdigest() + suffix
    place = folder / kind
    with suppress(FileNotFoundError):
        os.stat(place / name)  # its error names the file, that of utime does not
        os.utime(place / name)
        return name
    files.replace(place / name, data, mode=0o640)
    return name


def sweep(folder: Path, kind: str, named: Collection[str], *, young_s: float = YOUNG_S) -> int:
    """Remove files that are not in `named`, and half-written ones; returns how many."""
    gone = 0
    with os.scandir(folder / kind) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # a file that is being written has got its final name meanwhile
                age_s = time.time() - entry.stat(follow_symlinks=False).st_mtime
                if entry.name not in named and age_s > young_s:
                    os.unlink(entry.path)
                    gone += 1
    return gone

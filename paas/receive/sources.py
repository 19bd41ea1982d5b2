"""The folder of exported trees: files of `paas.build.source`, held by the pushes that need them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from paas.build.source import ENDINGS
from paas.receive.locks import same_file
from paas.receive.repository import remove_folder, remove_unheld
from runtime.kernel import files

_SCRATCH = files.STAGED
_SCRATCH_AGE_S = 60.0
"""A folder that is older is locked, or left over."""


class Sources:
    """The folder of sources. A push holds a shared flock(2) on its tar; the last one to let it go removes the source."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def hold(self, tree: str, held: contextlib.ExitStack) -> bool:
        """Keep a source until `held` is closed; False if it does not exist (any more)."""
        tar = self.path / f"{tree}.tar"
        try:
            descriptor = files.lock(tar, shared=True, create=False)
        except FileNotFoundError:
            return False
        if not same_file(descriptor, tar) or not all(tar.with_suffix(each).exists() for each in ENDINGS):
            os.close(descriptor)
            return False
        held.callback(self._release, tar, descriptor)
        return True

    def _release(self, tar: Path, descriptor: int) -> None:
        try:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if same_file(descriptor, tar):
                    for ending in reversed(ENDINGS):
                        tar.with_suffix(ending).unlink(missing_ok=True)
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder to make a source in, locked, and removed at the end."""
        path = self.path / f"{_SCRATCH}{secrets.token_hex(8)}"
        path.mkdir(mode=0o750)
        with files.locked(path, create=False):
            try:
                yield path
            finally:
                remove_folder(path)

    def sweep(self, min_age_s: float) -> int:
        """Remove the files of dead pushes; how many. Living pushes may remove theirs meanwhile.

        What is the api's own is left to converge, whose user is the api's.
        """
        removed = 0
        for entry in os.scandir(self.path):
            with contextlib.suppress(FileNotFoundError, PermissionError):
                scratch = entry.name.startswith(_SCRATCH)
                least = min(min_age_s, _SCRATCH_AGE_S) if scratch else min_age_s
                if time.time() - entry.stat().st_mtime >= least:
                    removed += self._remove(Path(entry.path))
        return removed

    def _remove(self, path: Path) -> bool:
        """Remove a file or folder unless a push holds it; True if removed. Raises FileNotFoundError."""
        if path.name.startswith(_SCRATCH):
            return remove_unheld(path)
        if path.suffix not in ENDINGS:
            return False
        tar = path.with_suffix(".tar")
        try:
            with files.locked(tar if tar.exists() else path, wait=False, create=False):
                path.unlink()
        except BlockingIOError:
            return False
        return True

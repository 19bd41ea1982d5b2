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
from paas.receive.repository import remove_folder
from runtime.kernel import files

_SCRATCH = ".new-"


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
        """A folder to make a source in, removed at the end."""
        path = self.path / f"{_SCRATCH}{secrets.token_hex(8)}"
        path.mkdir(mode=0o750)
        try:
            yield path
        finally:
            remove_folder(path)

    def sweep(self, min_age_s: float) -> int:
        """Remove the files of dead pushes; how many. Living pushes may remove theirs meanwhile.

        A folder of the api's own is left to it: `paas.receive.fetch` sweeps, too.
        """
        removed = 0
        for entry in os.scandir(self.path):
            with contextlib.suppress(FileNotFoundError, PermissionError):
                if time.time() - entry.stat().st_mtime >= min_age_s:
                    removed += self._remove(Path(entry.path))
        return removed

    def _remove(self, path: Path) -> bool:
        """Remove a file or folder unless a push holds it; True if removed. Raises FileNotFoundError."""
        if path.name.startswith(_SCRATCH):
            remove_folder(path)
            return True
        if path.suffix not in ENDINGS:
            return False
        tar = path.with_suffix(".tar")
        try:
            with files.locked(tar if tar.exists() else path, wait=False, create=False):
                path.unlink()
        except BlockingIOError:
            return False
        return True

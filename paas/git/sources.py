"""Exported trees on their way to a build: `sources/TREE.tar` and `TREE.json`, held by the pushes that need them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

from paas.git.locks import same_file


class Sources:
    """The folder of sources. A shared flock(2) on the tar says «in use»; the last user removes the pair."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def hold(self, tree: str, held: contextlib.ExitStack) -> bool:
        """Keep a source until `held` is closed; False when it is not there (any more)."""
        tar = self.path / f"{tree}.tar"
        try:
            descriptor = os.open(tar, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if not same_file(descriptor, tar) or not tar.with_suffix(".json").exists():
            os.close(descriptor)
            return False
        held.callback(self._let_go, tar, descriptor)
        return True

    def _let_go(self, tar: Path, descriptor: int) -> None:
        try:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if same_file(descriptor, tar):
                    tar.with_suffix(".json").unlink(missing_ok=True)
                    tar.unlink(missing_ok=True)
        finally:
            os.close(descriptor)

    def sweep(self, min_age_s: float) -> int:
        """Remove what dead pushes left; how many files."""
        removed = 0
        for entry in os.scandir(self.path):
            path = Path(entry.path)
            if time.time() - entry.stat().st_mtime < min_age_s or path.suffix not in (".tar", ".json"):
                continue
            tar = path.with_suffix(".tar")
            descriptor = os.open(tar if tar.exists() else path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
                removed += 1
            except BlockingIOError:
                continue
            finally:
                os.close(descriptor)
        return removed

"""Locks that end with their holder (flock(2)): one push of an app at a time, a few packs of a user."""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from runtime.kernel import files


@dataclass(frozen=True)
class Holder:
    """The user whose push holds an app's lock, and since when (seconds since 1970)."""

    user: str
    since: float


class AppLock:
    """One push of an app at a time, over all connections. The kernel holds the lock; the file only names the holder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self, user: str) -> bool:
        """Take the lock if it is free."""
        try:
            descriptor = files.lock(self._path, wait=False)
        except BlockingIOError:
            return False
        if not same_file(descriptor, self._path):  # removed with its app between open and flock
            os.close(descriptor)
            return self.acquire(user)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"user": user, "since": time.time()}).encode(), 0)
        self._descriptor = descriptor
        return True

    def holder(self) -> Holder | None:
        """The last holder; None if none was ever written."""
        try:
            data = json.loads(self._path.read_text())
            return Holder(str(data["user"]), float(data["since"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def same_file(descriptor: int, path: Path) -> bool:
    """True if `path` still names the open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


class Slots:
    """At most `count` holders at a time, over all connections: one file each in a folder."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._count = count

    def acquire(self) -> int | None:
        """A descriptor that holds a slot until it is closed; None while all are taken."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in range(self._count):
            with contextlib.suppress(BlockingIOError):
                return files.lock(self._folder / str(number), wait=False)
        return None

"""Files that appear whole or not at all, and locks that the kernel releases when their holder dies (flock(2))."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""Flags to open a folder itself: a link in its place is an error."""

STAGED = ".new-"
"""The prefix of files that are being written. A crash may leave one, so code that lists a folder ignores them."""


def replace(
    path: Path,
    data: str | bytes,
    *,
    mode: int | None = None,
    owner: tuple[int, int] | None = None,
    durable: bool = True,
) -> None:
    """Write a file, or a new version of it: readers see the old content or the new one, also after a crash.

    Without `mode` the umask decides. `owner` is (uid, gid). Without `durable` nothing is synced: for folders that do not
    survive a reboot. Raises OSError.
    """
    with _staged(path, data, mode, owner, durable) as fresh:
        os.replace(fresh, path)


def create(path: Path, data: str | bytes, *, mode: int | None = None, durable: bool = True) -> bool:
    """Like `replace`, but an existing file stays as it is; returns whether this call made the file."""
    with _staged(path, data, mode, None, durable) as fresh:
        try:
            os.link(fresh, path)
        except FileExistsError:
            return False
    return True


@contextmanager
def _staged(
    path: Path, data: str | bytes, mode: int | None, owner: tuple[int, int] | None, durable: bool
) -> Iterator[Path]:
    """A finished file beside `path`, for the caller to name; the folder is synced afterwards."""
    fresh = path.with_name(f"{STAGED}{os.urandom(8).hex()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(fresh, flags, 0o666 if mode is None else 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            if owner is not None:
                os.fchown(descriptor, *owner)
            if mode is not None:
                os.fchmod(descriptor, mode)
            if durable:
                file.flush()
                os.fsync(descriptor)
        yield fresh
    finally:
        with suppress(FileNotFoundError):
            os.unlink(fresh)
    if durable:
        sync_folder(path.parent)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of it, however little each write(2) takes. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_folder(path: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock(
    path: Path, *, shared: bool = False, wait: bool = True, create: bool = True, mode: int = 0o600
) -> int:
    """Lock a file; the lock holds until the returned descriptor and all copies of it are closed.

    The file is made if it is missing; without `create` it must exist, and may be a folder. Raises BlockingIOError when
    somebody else holds the lock and this call is not to `wait`, OSError.
    """
    flags = os.O_RDWR | os.O_CREAT if create else os.O_RDONLY
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def locked(path: Path, *, wait: bool = True, create: bool = True, mode: int = 0o600) -> Iterator[int]:
    """Hold an exclusive `lock` for the length of a block; gives the descriptor."""
    descriptor = lock(path, wait=wait, create=create, mode=mode)
    try:
        yield descriptor
    finally:
        os.close(descriptor)

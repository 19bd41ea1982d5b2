"""Removes hostile trees of any depth and width; follows no link and crosses no mount.

Two descriptors are open at any time, however deep the tree: the way up is `..`, and each step up is checked to lead to
the folder that the walk came from.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from runtime.kernel import syscalls
from runtime.kernel.files import FOLDER

_BELOW = syscalls.RESOLVE_NO_XDEV | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_BENEATH
_ATTEMPTS = 16
_TICK_EVERY = 1000


def remove_tree(dirfd: int, name: str | bytes, *, tick: Callable[[], None] | None = None) -> None:
    """Remove `name` in the folder `dirfd`, whatever it is; does nothing if it is missing.

    `tick` is called about every thousand entries. Raises OSError; EXDEV for a mount inside, whose content is not
    touched.
    """
    name = os.fsencode(name)
    if name in (b"", b".", b"..") or b"/" in name:
        raise ValueError(f"{name!r} is not a single name")
    for _ in range(_ATTEMPTS):
        try:
            if not _unlink(dirfd, name):
                _empty(dirfd, name, tick or (lambda: None))
                os.rmdir(name, dir_fd=dirfd)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            continue
        return
    raise OSError(errno.ENOTEMPTY, "somebody keeps adding files", os.fsdecode(name))


def remove_path(path: Path) -> None:
    """`remove_tree` for a path whose parent folder no one else can change."""
    folder = os.open(path.parent, FOLDER)
    try:
        remove_tree(folder, path.name)
    finally:
        os.close(folder)


def _unlink(dirfd: int, name: bytes) -> bool:
    """Remove anything but a folder; False for a folder."""
    try:
        os.unlink(name, dir_fd=dirfd)
    except IsADirectoryError:
        return False
    return True


def _empty(dirfd: int, name: bytes, tick: Callable[[], None]) -> None:
    """Remove everything in a folder, depth first, going up by `..`."""
    current = syscalls.openat2(dirfd, name, FOLDER, resolve=_BELOW)
    above: list[tuple[bytes, tuple[int, int], list[bytes]]] = []
    try:
        folders = _unlink_files(current, tick)
        while True:
            if folders:
                name = folders.pop()
                inner = syscalls.openat2(current, name, FOLDER, resolve=_BELOW)
                above.append((name, _identity(current), folders))
                os.close(current)
                current = inner
                folders = _unlink_files(current, tick)
            elif above:
                name, identity, folders = above.pop()
                outer = os.open(b"..", FOLDER, dir_fd=current)
                os.close(current)
                current = outer
                if _identity(current) != identity:
                    raise OSError(
                        errno.ESTALE, "the folder was moved while it was removed", os.fsdecode(name)
                    )
                os.rmdir(name, dir_fd=current)
            else:
                return
    finally:
        os.close(current)


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def _unlink_files(fd: int, tick: Callable[[], None]) -> list[bytes]:
    """Unlink everything but folders; returns the names of the folders."""
    folders = []
    tick()
    with os.scandir(fd) as entries:
        for count, entry in enumerate(entries, 1):
            name = os.fsencode(entry.name)
            if entry.is_dir(follow_symlinks=False) or not _unlink(fd, name):
                folders.append(name)
            if count % _TICK_EVERY == 0:
                tick()
    return folders

"""Makes a layer: the same calls give the unpacked tree (what overlayfs mounts) and its tar (what OCI stores).

Works below one folder descriptor. No link is followed: the kernel opens each folder with RESOLVE_BENEATH |
RESOLVE_NO_SYMLINKS (openat2(2)), and a name that exists already is an error.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from runtime.image import names
from runtime.image.errors import BadArchive, TooLarge
from runtime.image.names import shown
from runtime.image.tarwriter import APP, LAYER_MTIME, Owner, TarWriter
from runtime.kernel import syscalls
from runtime.kernel.files import FOLDER, write_all
from runtime.spec import ID_RANGE

BENEATH = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_TIMES = (LAYER_MTIME * 1_000_000_000, LAYER_MTIME * 1_000_000_000)
MAX_TARGET = 4095
_NOT_A_FOLDER = (errno.ELOOP, errno.ENOTDIR, errno.EXDEV)
_T = TypeVar("_T")


@dataclass(frozen=True)
class Limits:
    """Bounds of one layer: names of any kind, and bytes of content as the files claim them. `reserve_bytes` of the disk stay
    free for the platform and its apps."""

    files: int = 300_000
    size_bytes: int = 4 * 1024**3
    reserve_bytes: int = 256 * 1024**2


class LayerWriter:
    """One layer in the making. `tree_fd` is an empty folder; `write` gets the tar stream.

    Container id 0 is `first_id` for this process, which then needs CAP_CHOWN over 65,536 ids from there; without
    `first_id` every entry is the app user's, as the process itself must be. Paths are as in `names.normal`. Every
    method raises BadArchive if the name exists already, its parent is not a folder or its owner is outside the ids,
    TooLarge at a limit.
    """

    def __init__(
        self,
        tree_fd: int,
        write: Callable[[bytes], object],
        limits: Limits | None = None,
        first_id: int | None = None,
    ) -> None:
        self._root = tree_fd
        self._first_id = first_id
        self._tar = TarWriter(write)
        self._limits = limits or Limits()
        self._folder_path: bytes | None = None
        self._folder_fd = -1
        self._folders: dict[bytes, tuple[int, Owner]] = {}
        self.files = 0
        self.size_bytes = 0
        self.opaque: list[bytes] = []

    def directory(self, path: bytes, mode: int, owner: Owner | None = APP) -> None:
        """A folder, which may be sticky; its mode and owner are set at the end, so that files can still be made in it."""
        folder, name = self._admit(path)
        owner = self._kept(path, owner)
        mode &= 0o1777
        _make(path, lambda: os.mkdir(name, 0o700, dir_fd=folder))
        self._folders[path] = mode, owner
        self._tar.directory(path, mode, owner)

    def file(
        self, path: bytes, mode: int, size: int, chunks: Iterable[bytes], owner: Owner | None = APP
    ) -> None:
        """A regular file of exactly `size` bytes; a set-id or sticky bit is dropped."""
        folder, name = self._admit(path, size)
        owner = self._kept(path, owner)
        mode &= 0o777
        fd = _make(path, lambda: os.open(name, _NEW, 0o600, dir_fd=folder))
        try:
            self._tar.file(path, mode, size, _into(fd, chunks), owner)
            os.fchmod(fd, mode)
            os.utime(fd, ns=_TIMES)
            if owner != APP:
                os.fchown(fd, *self._here(owner))
        finally:
            os.close(fd)

    def symlink(self, path: bytes, target: bytes, owner: Owner | None = APP) -> None:
        """A symbolic link with any target; nothing here follows it."""
        if not target or b"\0" in target or len(target) > MAX_TARGET:
            raise BadArchive(f"{shown(path)}: a link to a name of {len(target)} bytes")
        folder, name = self._admit(path)
        owner = self._kept(path, owner)
        _make(path, lambda: os.symlink(target, name, dir_fd=folder))
        os.utime(name, ns=_TIMES, dir_fd=folder, follow_symlinks=False)
        if owner != APP:
            os.chown(name, *self._here(owner), dir_fd=folder, follow_symlinks=False)
        self._tar.symlink(path, target, owner)

    def hard_link(self, path: bytes, target: bytes, mode: int) -> None:
        """Another name for a regular file that this layer holds already, whose owner it has. Only the tar says `mode`."""
        folder, name = self._admit(path)
        target_folder, target_name = names.split(target)
        source = self._open(target_folder)
        try:
            status = os.stat(target_name, dir_fd=source, follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                raise BadArchive(f"{shown(path)}: a hard link to something that is no file")
            _make(
                path,
                lambda: os.link(
                    target_name, name, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False
                ),
            )
        except FileNotFoundError:
            raise BadArchive(
                f"{shown(path)}: a hard link to {shown(target)}, which is not in the archive"
            ) from None
        finally:
            os.close(source)
        first = self._first_id
        owner = APP if first is None else (status.st_uid - first, status.st_gid - first)
        self._tar.hard_link(path, target, mode & 0o777, owner)

    def whiteout(self, path: bytes) -> None:
        """Hides `path` of the layers below: character device 0:0 on disk, `.wh.NAME` in the tar."""
        folder, name = self._admit(path)
        _make(path, lambda: os.mknod(name, stat.S_IFCHR | 0o600, 0, dir_fd=folder))
        os.utime(name, ns=_TIMES, dir_fd=folder, follow_symlinks=False)
        parent, name = names.split(path)
        self._tar.file(names.join(parent, names.WHITEOUT + name), 0o644, 0, ())

    def hide_below(self, path: bytes) -> None:
        """Hides the content of this folder in lower layers. On disk this takes an attribute that only root can set.

        The paths are collected in `opaque`; see `set_opaque`.
        """
        self._admit(names.join(path, names.OPAQUE))
        self.opaque.append(path)
        self._tar.file(names.join(path, names.OPAQUE), 0o644, 0, ())

    def finish(self) -> None:
        """End the tar and set modes, times and owners of folders, deepest first."""
        self._tar.finish()
        self._leave()
        for path, (mode, owner) in reversed(self._folders.items()):
            parent, name = names.split(path)
            folder = self._enter(parent)
            os.chmod(name, mode, dir_fd=folder)
            os.utime(name, ns=_TIMES, dir_fd=folder, follow_symlinks=False)
            if owner != APP:
                os.chown(name, *self._here(owner), dir_fd=folder, follow_symlinks=False)
        self._leave()

    def _kept(self, path: bytes, owner: Owner | None) -> Owner:
        """The owner that an entry has in the layer."""
        if self._first_id is None:
            return APP
        if owner is None or not all(0 <= number < ID_RANGE for number in owner):
            raise BadArchive(f"{shown(path)}: its owner is none of the ids from 0 to {ID_RANGE - 1}")
        return owner

    def _here(self, owner: Owner) -> Owner:
        """A container's user and group, as this process numbers them."""
        first = self._first_id or 0
        return first + owner[0], first + owner[1]

    def _admit(self, path: bytes, size: int = 0) -> tuple[int, bytes]:
        """Count an entry against the limits and make missing parents; returns its folder and its name there."""
        self.files += 1
        self.size_bytes += size
        if self.files > self._limits.files:
            raise TooLarge(f"more than {self._limits.files} files")
        if self.size_bytes > self._limits.size_bytes:
            raise TooLarge(f"{shown(path)}: more than {self._limits.size_bytes // 1024**2} MiB of files")
        parent, name = names.split(path)
        return self._enter(parent), name

    def _enter(self, path: bytes) -> int:
        """The descriptor of a folder of this layer, kept for the next entry; missing ones are made."""
        if path == self._folder_path:
            return self._folder_fd
        try:
            fd = self._open(path)
        except FileNotFoundError:
            self._make_parents(path)
            fd = self._open(path)
        self._leave()
        self._folder_path, self._folder_fd = path, fd
        return fd

    def _make_parents(self, path: bytes) -> None:
        """Folders that the archive does not list, from the top down: root's, where owners are kept."""
        owner = APP if self._first_id is None else (0, 0)
        parts = path.split(b"/")
        for depth in range(1, len(parts) + 1):
            folder = b"/".join(parts[:depth])
            if folder not in self._folders:
                self.directory(folder, 0o755, owner)

    def _open(self, folder: bytes) -> int:
        try:
            return syscalls.openat2(self._root, folder or b".", FOLDER, resolve=BENEATH)
        except OSError as error:
            if error.errno in _NOT_A_FOLDER:
                raise BadArchive(f"{shown(folder)}: a link or a file, where a folder is needed") from error
            raise

    def _leave(self) -> None:
        if self._folder_fd >= 0:
            os.close(self._folder_fd)
        self._folder_path, self._folder_fd = None, -1


def _make(path: bytes, action: Callable[[], _T]) -> _T:
    try:
        return action()
    except FileExistsError:
        raise BadArchive(f"{shown(path)}: is there twice") from None


def _into(fd: int, chunks: Iterable[bytes]) -> Iterable[bytes]:
    """Pass chunks on while writing them to a file."""
    for chunk in chunks:
        write_all(fd, chunk)
        yield chunk


def set_opaque(tree_fd: int, paths: Iterable[bytes]) -> None:
    """Mark folders as opaque for overlayfs (`trusted.overlay.opaque`). Needs CAP_SYS_ADMIN."""
    for path in paths:
        fd = syscalls.openat2(tree_fd, path or b".", FOLDER, resolve=BENEATH)
        try:
            os.setxattr(fd, "trusted.overlay.opaque", b"y")
        finally:
            os.close(fd)

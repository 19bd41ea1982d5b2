"""Mounts as data: a list of operations on a container's root that can be printed and tested, then performed.

Every path is relative to the root and looked up by openat2(2), so nothing a tenant put into the tree can lead
outside. `strict` paths must consist of ordinary directories; the others may pass symbolic links, which then stay
inside the root. Mounting happens by descriptor, never again by path.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from runtime.kernel import syscalls as sc

_STRICT = sc.RESOLVE_IN_ROOT | sc.RESOLVE_NO_SYMLINKS | sc.RESOLVE_NO_MAGICLINKS
_INSIDE = sc.RESOLVE_IN_ROOT | sc.RESOLVE_NO_MAGICLINKS
_NULL = os.makedev(1, 3)

NO_SUID_DEV_EXEC = sc.MOUNT_ATTR_NOSUID | sc.MOUNT_ATTR_NODEV | sc.MOUNT_ATTR_NOEXEC


class RootfsError(Exception):
    """The image, or a mount of the box, cannot be made into a root; the message names the path."""


@dataclass(frozen=True)
class Filesystem:
    """A new file system of `kind` at a strict path. `flags` are those of mount(2)."""

    kind: str
    target: str
    flags: int
    data: str | None = None


@dataclass(frozen=True)
class Bind:
    """A detached mount (the descriptor `source`, of open_tree(2)) at a path that is made if it is missing."""

    source: int
    target: str
    attributes: int
    strict: bool = False


@dataclass(frozen=True)
class Mask:
    """Hide a file behind the null device, a folder behind an empty one; nothing happens if it is missing."""

    target: str


@dataclass(frozen=True)
class ReadOnly:
    """Make the tree at a path read-only, if it exists."""

    target: str


@dataclass(frozen=True)
class ReadOnlyMount:
    """Make the mount at a strict path itself read-only; what is mounted below it stays as it is."""

    target: str
    flags: int


@dataclass(frozen=True)
class Device:
    target: str
    major: int
    minor: int


@dataclass(frozen=True)
class Symlink:
    target: str
    points_to: str


@dataclass(frozen=True)
class Folder:
    target: str
    mode: int = 0o755


Operation = Filesystem | Bind | Mask | ReadOnly | ReadOnlyMount | Device | Symlink | Folder


@dataclass(frozen=True)
class Root:
    """A directory that becomes a container's `/`; made files belong to container id 0, `id_base` outside."""

    fd: int
    id_base: int

    def open(self, path: str, *, strict: bool = True) -> int:
        """An O_PATH descriptor of a path inside. Raises OSError."""
        return sc.openat2(self.fd, path, os.O_PATH, resolve=_STRICT if strict else _INSIDE)

    @contextmanager
    def opened(self, path: str) -> Iterator[int]:
        """Like `open`, closed at the end."""
        fd = self.open(path)
        try:
            yield fd
        finally:
            os.close(fd)

    @contextmanager
    def parent(self, path: str) -> Iterator[tuple[int, str]]:
        """A descriptor of the folder that holds the path, and the path's last name."""
        folder, _, name = path.rpartition("/")
        with self.opened(folder or ".") as fd:
            yield fd, name

    def ensure(self, path: str, *, folder: bool, strict: bool) -> int:
        """Open a path; make the folders that are missing."""
        words = path.split("/")
        here = self.open(".")
        for depth in range(len(words)):
            last = depth == len(words) - 1
            try:
                below = self.open("/".join(words[: depth + 1]), strict=strict)
            except FileNotFoundError:
                self._make(here, words[depth], folder=folder or not last)
                below = sc.openat2(here, words[depth], os.O_PATH, resolve=_STRICT)
            os.close(here)
            here = below
        return here

    def _make(self, parent: int, name: str, *, folder: bool) -> None:
        try:
            if folder:
                os.mkdir(name, 0o755, dir_fd=parent)
            else:
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
                os.close(os.open(name, flags, 0o644, dir_fd=parent))
        except FileExistsError:
            raise RootfsError(f"{name}: a dangling link stands where a mount belongs") from None
        os.chown(name, self.id_base, self.id_base, dir_fd=parent, follow_symlinks=False)


def perform(operations: Sequence[Operation], root: Root) -> None:
    """Carry the operations out in order. Raises RootfsError with the path that is to blame."""
    for operation in operations:
        try:
            _perform(operation, root)
        except OSError as error:
            raise RootfsError(
                f"/{operation.target}: {type(operation).__name__.lower()}: {error.strerror}"
            ) from error


def _perform(operation: Operation, root: Root) -> None:
    match operation:
        case Filesystem():
            _mount(operation, root)
        case Bind():
            _bind(operation, root)
        case Mask(target):
            _mask(target, root)
        case ReadOnly(target):
            _read_only(target, root)
        case ReadOnlyMount(target, flags):
            with root.opened(target) as fd:
                remount = sc.MS_REMOUNT | sc.MS_BIND | sc.MS_RDONLY | flags
                sc.mount("none", f"/proc/self/fd/{fd}", None, remount)
        case Device():
            _device(operation, root)
        case Symlink(target, points_to):
            with root.parent(target) as (parent, name):
                os.symlink(points_to, name, dir_fd=parent)
        case Folder(target, mode):
            with root.parent(target) as (parent, name):
                os.mkdir(name, dir_fd=parent)
                os.chmod(name, mode, dir_fd=parent)
                os.chown(name, root.id_base, root.id_base, dir_fd=parent, follow_symlinks=False)


def _mount(operation: Filesystem, root: Root) -> None:
    with root.opened(operation.target) as fd:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            raise RootfsError(f"the image's /{operation.target} is not an ordinary directory")
        sc.mount(operation.kind, f"/proc/self/fd/{fd}", operation.kind, operation.flags, operation.data)


def _bind(operation: Bind, root: Root) -> None:
    folder = stat.S_ISDIR(os.fstat(operation.source).st_mode)
    target = root.ensure(operation.target, folder=folder, strict=operation.strict)
    try:
        sc.mount_setattr(operation.source, operation.attributes)
        _attach(operation.source, target)
    finally:
        os.close(target)


def _attach(tree: int, target: int) -> None:
    sc.move_mount(tree, "", target, "", sc.MOVE_MOUNT_F_EMPTY_PATH | sc.MOVE_MOUNT_T_EMPTY_PATH)


def _mask(path: str, root: Root) -> None:
    try:
        fd = root.open(path)
    except FileNotFoundError:
        return
    try:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            flags = sc.MS_RDONLY | sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC
            sc.mount("tmpfs", f"/proc/self/fd/{fd}", "tmpfs", flags, "size=4k,nr_inodes=2,mode=555")
            return
        with root.opened("dev/null") as null:
            if os.fstat(null).st_rdev != _NULL:
                raise RootfsError("/dev/null is not the null device")
            _attach_copy(null, fd)
    finally:
        os.close(fd)


def _read_only(path: str, root: Root) -> None:
    try:
        fd = root.open(path)
    except FileNotFoundError:
        return
    try:
        _attach_copy(fd, fd, read_only=True)
    finally:
        os.close(fd)


def _attach_copy(source: int, target: int, *, read_only: bool = False) -> None:
    """Mount a copy of what `source` is open on over `target`; a read-only one with all that is mounted below it."""
    recursive = sc.AT_RECURSIVE if read_only else 0
    tree = sc.open_tree(source, "", sc.OPEN_TREE_CLONE | sc.OPEN_TREE_CLOEXEC | sc.AT_EMPTY_PATH | recursive)
    if read_only:
        sc.mount_setattr(tree, sc.MOUNT_ATTR_RDONLY, recursive=True)
    _attach(tree, target)
    os.close(tree)


def _device(operation: Device, root: Root) -> None:
    with root.parent(operation.target) as (parent, name):
        device = os.makedev(operation.major, operation.minor)
        os.mknod(name, stat.S_IFCHR | 0o666, device, dir_fd=parent)
        os.chown(name, root.id_base, root.id_base, dir_fd=parent, follow_symlinks=False)
        os.chmod(name, 0o666, dir_fd=parent)

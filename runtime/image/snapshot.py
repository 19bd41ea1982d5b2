"""Turns what a container wrote (the upper folder of its overlay) into a layer.

The tree is hostile: it is walked by descriptor, no link is followed, and only folders, regular files, links and
overlayfs's own whiteouts are copied. What the runtime itself wrote, sockets, FIFOs and devices are left out; times, set-id
bits and extended attributes are dropped. Entries are sorted by the bytes of their names, so equal trees give equal layers.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator

from runtime.image import names
from runtime.image.errors import BadTree
from runtime.image.layerwriter import BENEATH, LayerWriter
from runtime.image.names import shown
from runtime.image.tarwriter import Owner
from runtime.kernel import syscalls
from runtime.kernel.files import FOLDER
from runtime.spec import ID_RANGE

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
CHUNK = 1024 * 1024
_CONTAINERS_OWN = frozenset({b"etc/hostname", b"etc/hosts", b"etc/resolv.conf"})
"""What the runtime writes for each container; a layer with them would carry a build's address."""


def snapshot(
    upper_fd: int,
    paths: Collection[bytes],
    writer: LayerWriter,
    *,
    opaque: Collection[bytes] = (),
    first_id: int = 0,
    without: Collection[bytes] = (),
) -> None:
    """Copy `paths` (as in `names.normal`) of an upper folder into `writer` and finish it.

    The folders above them come along, for their modes and owners. Container id 0 is `first_id` for this process.
    `opaque` are folders that hide their namesakes in lower layers; see `find_opaque`. A missing path is
    skipped, and so is what lies at and below a path of `without`. Raises BadTree for an entry that cannot be part of a layer.
    """
    walk = _Walk(upper_fd, writer, frozenset(opaque), first_id, frozenset(without))
    for path in _outermost(paths):
        walk.copy(path)
    writer.finish()


def _outermost(paths: Collection[bytes]) -> list[bytes]:
    """Sorted, without paths that lie below another one."""
    return [
        path for path in sorted(set(paths))
        if not any(path != other and path.startswith(other + b"/") for other in paths)
    ]  # fmt: skip


class _Walk:
    def __init__(
        self,
        upper_fd: int,
        writer: LayerWriter,
        opaque: frozenset[bytes],
        first_id: int,
        without: frozenset[bytes],
    ) -> None:
        self._upper = upper_fd
        self._writer = writer
        self._opaque = opaque
        self._first_id = first_id
        self._without = without
        self._above: set[bytes] = set()
        self._first_names: dict[tuple[int, int], bytes] = {}

    def copy(self, path: bytes) -> None:
        """Copy one path and everything below it; iterative, since a tree may be deeper than Python's stack."""
        folder, name = names.split(path)
        try:
            fd = syscalls.openat2(self._upper, folder or b".", FOLDER, resolve=BENEATH)
        except FileNotFoundError:
            return
        except OSError as error:
            raise BadTree(f"{shown(path)}: lies below a link or a file") from error
        stack: list[tuple[bytes, int, Iterator[bytes]]] = [(folder, fd, iter([name]))]
        try:
            if _exists(fd, name):
                self._folders_above(folder)
            while stack:
                parent, fd, waiting = stack[-1]
                name = next(waiting, b"")
                if not name:
                    os.close(stack.pop()[1])
                    continue
                below = self._entry(fd, parent, name)
                if below is not None:
                    stack.append(below)
        finally:
            for _, fd, _ in stack:
                os.close(fd)

    def _folders_above(self, folder: bytes) -> None:
        """Add the folders that lead to a path, as they are; what else is in them is no part of the layer."""
        parts = folder.split(b"/") if folder else []
        for depth in range(1, len(parts) + 1):
            above = b"/".join(parts[:depth])
            if above not in self._above:
                self._above.add(above)
                fd = syscalls.openat2(self._upper, above, FOLDER, resolve=BENEATH)
                try:
                    status = os.fstat(fd)
                finally:
                    os.close(fd)
                self._writer.directory(above, stat.S_IMODE(status.st_mode), self._owner(above, status))

    def _owner(self, path: bytes, status: os.stat_result) -> Owner:
        """The owner inside the container. The kernel shows an id without a name here as 65534, which lies below `first_id`."""
        owner = status.st_uid - self._first_id, status.st_gid - self._first_id
        if not all(0 <= number < ID_RANGE for number in owner):
            raise BadTree(f"{shown(path)}: its owner is none of the container's ids")
        return owner

    def _entry(self, fd: int, parent: bytes, name: bytes) -> tuple[bytes, int, Iterator[bytes]] | None:
        path = names.join(parent, name)
        if path in _CONTAINERS_OWN or path in self._without:
            return None
        try:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFCHR and status.st_rdev == 0:
            self._writer.whiteout(path)
            return None
        if kind not in (stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK):
            return None
        if name.startswith(names.WHITEOUT):
            raise BadTree(f"{shown(path)}: names that begin with .wh. cannot be stored in an image")
        names.check(path)
        owner = self._owner(path, status)
        if kind == stat.S_IFDIR:
            self._writer.directory(path, stat.S_IMODE(status.st_mode), owner)
            if path in self._opaque:
                self._writer.hide_below(path)
            below = os.open(name, FOLDER, dir_fd=fd)
            return path, below, iter(sorted(map(os.fsencode, os.listdir(below))))
        if kind == stat.S_IFLNK:
            self._writer.symlink(path, os.fsencode(os.readlink(name, dir_fd=fd)), owner)
        else:
            self._file(fd, name, path, status, owner)
        return None

    def _file(self, folder: int, name: bytes, path: bytes, status: os.stat_result, owner: Owner) -> None:
        identity = (status.st_dev, status.st_ino)
        if status.st_nlink > 1:
            first = self._first_names.setdefault(identity, path)
            if first != path:
                self._writer.hard_link(path, first, stat.S_IMODE(status.st_mode))
                return
        fd = os.open(name, _FILE, dir_fd=folder)
        try:
            now = os.fstat(fd)
            if (now.st_dev, now.st_ino, now.st_size) != (*identity, status.st_size):
                raise BadTree(f"{shown(path)}: changed while it was read")
            content = _content(fd, status.st_size, path)
            mode = stat.S_IMODE(status.st_mode)
            self._writer.file(path, mode, status.st_size, content, owner)
        finally:
            os.close(fd)


def _exists(folder: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _content(fd: int, size: int, path: bytes) -> Iterator[bytes]:
    while size:
        chunk = os.read(fd, min(size, CHUNK))
        if not chunk:
            raise BadTree(f"{shown(path)}: became shorter while it was read")
        size -= len(chunk)
        yield chunk


def find_opaque(upper_fd: int, paths: Collection[bytes], lowers: Collection[int]) -> list[bytes]:
    """Folders at and below `paths` that overlayfs made opaque and that exist in one of the layers `lowers`.

    Needs CAP_SYS_ADMIN to see the attribute; reads only names and attributes. overlayfs marks every new folder;
    without a namesake in a lower layer the mark means nothing.
    """
    found = []
    waiting = [path for path in _outermost(paths) if any(_is_folder(lower, path) for lower in lowers)]
    while waiting:
        path = waiting.pop()
        try:
            fd = syscalls.openat2(upper_fd, path, FOLDER, resolve=BENEATH)
        except OSError:
            continue
        try:
            if _attribute(fd) == b"y":
                found.append(path)
                continue
            with os.scandir(fd) as entries:
                inside = [os.fsencode(e.name) for e in entries if e.is_dir(follow_symlinks=False)]
        finally:
            os.close(fd)
        waiting += [
            names.join(path, name)
            for name in inside
            if any(_is_folder(lower, names.join(path, name)) for lower in lowers)
        ]
    return sorted(found)


def _is_folder(root_fd: int, path: bytes) -> bool:
    try:
        os.close(syscalls.openat2(root_fd, path, os.O_PATH | os.O_DIRECTORY, resolve=BENEATH))
    except OSError:
        return False
    return True


def _attribute(fd: int) -> bytes:
    try:
        return os.getxattr(fd, "trusted.overlay.opaque")
    except OSError:
        return b""

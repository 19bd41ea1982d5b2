"""What a container is made from, opened: layers, volumes, caches, host folders, log files.

Everything is found below folders of the platform without following links, and handed on as detached mounts
(open_tree(2)): a mount of the spawner's own namespace could not be attached in a container's.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack, suppress
from pathlib import Path

from runtime.container.engine import Engine
from runtime.container.mounts import Bind
from runtime.home import Layout
from runtime.image.errors import NotFound
from runtime.image.layerstore import LayerStore
from runtime.kernel import syscalls as sc
from runtime.spec import Box, Mount, Order

TRASH = ".trash"
_REMOVAL_CAPS = 1 << 1 | 1 << 2 | 1 << 3  # DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER
_BELOW = sc.RESOLVE_BENEATH | sc.RESOLVE_NO_SYMLINKS | sc.RESOLVE_NO_MAGICLINKS
_OPEN_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class SourceError(Exception):
    """A layer, mount or file of a box does not exist or is not allowed; the message names it."""


def open_folder(path: Path, shim_fds: ExitStack) -> int:
    """A detached mount of a folder. Raises OSError."""
    return _detached(os.open(path, _OPEN_FOLDER), shim_fds)


def _detached(fd: int, shim_fds: ExitStack) -> int:
    """A detached mount of the file or folder that `fd` is open on; closes `fd`."""
    try:
        tree = sc.open_tree(fd, "", sc.OPEN_TREE_CLONE | sc.OPEN_TREE_CLOEXEC | sc.AT_EMPTY_PATH)
    finally:
        os.close(fd)
    shim_fds.callback(os.close, tree)
    return tree


def open_layers(layout: Layout, digests: tuple[str, ...], shim_fds: ExitStack) -> tuple[int, ...]:
    """The unpacked layers, lowest first, of the home or else of the stacks. Raises SourceError."""
    store = LayerStore(layout.layers, layout.stacks)
    found = []
    for digest in digests:
        try:
            found.append(open_folder(store.path(digest), shim_fds))
        except (NotFound, FileNotFoundError):
            raise SourceError(f"layer {digest} is not here") from None
    return tuple(found)


def open_mounts(engine: Engine, box: Box, shim_fds: ExitStack) -> tuple[Bind, ...]:
    """The bind mounts of a box. Raises SourceError."""
    binds = []
    for mount in box.mounts:
        fd = _open_host(engine, mount) if mount.type == "host" else _open_own(engine, mount, box.user)
        tree = _detached(fd, shim_fds)
        attributes = sc.MOUNT_ATTR_NOSUID | sc.MOUNT_ATTR_NODEV
        if mount.read_only or mount.type == "host":
            attributes |= sc.MOUNT_ATTR_RDONLY
        binds.append(Bind(tree, mount.destination.lstrip("/"), attributes))
    return tuple(binds)


def _open_host(engine: Engine, mount: Mount) -> int:
    """A path of the host. With its links resolved it must lie in a folder that the operator allowed."""
    try:
        fd = os.open(mount.source, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise SourceError(f"mount {mount.source}: {error.strerror}") from error
    real = Path(os.readlink(f"/proc/self/fd/{fd}"))
    if not any(real.is_relative_to(allowed) for allowed in engine.allow_bind):
        os.close(fd)
        raise SourceError(f"mount {mount.source}: the spawner was not told to allow binding {real}")
    return fd


def _open_own(engine: Engine, mount: Mount, owner: int) -> int:
    """A folder below volumes/ or caches/, made for the app's user if it is missing."""
    layout = engine.layout
    top = layout.volumes if mount.type == "volume" else layout.caches
    here = os.open(top, _OPEN_FOLDER)
    words = mount.source.split("/")
    for depth, word in enumerate(words):
        last = depth == len(words) - 1
        with suppress(FileExistsError):
            os.mkdir(word, 0o700, dir_fd=here)
        try:
            below = sc.openat2(here, word, os.O_PATH | os.O_DIRECTORY, resolve=_BELOW)
        finally:
            os.close(here)
        here = below
        if last and os.fstat(here).st_uid == 0:
            os.chown(f"/proc/self/fd/{here}", owner, owner)
    return here


def open_logs(engine: Engine, order: Order, shim_fds: ExitStack) -> tuple[int, int]:
    """The two files of the instance's ring, owned by the log user; the control plane reads and trims them.

    The control plane may write in that folder too, so links are refused and only an ordinary file is touched.
    """
    make_log_folder(engine, order.app)
    folder = os.open(engine.layout.logs, _OPEN_FOLDER)
    shim_fds.callback(os.close, folder)
    found = []
    for number in (0, 1):
        name = f"{order.app}/{order.id}.{number}.log"
        flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK
        fd = sc.openat2(folder, name, flags, resolve=_BELOW, mode=0o640)
        shim_fds.callback(os.close, fd)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise SourceError(f"logs/{name} is not an ordinary file")
        os.fchown(fd, engine.log_user, engine.attach_group)
        os.fchmod(fd, 0o660)
        found.append(fd)
    return found[0], found[1]


def make_log_folder(engine: Engine, app_id: str) -> None:
    """`logs/APPID`, writable by the log user and the control plane's group."""
    folder = engine.layout.logs / app_id
    with suppress(FileExistsError):
        folder.mkdir()
        os.chown(folder, engine.log_user, engine.attach_group)
        folder.chmod(0o2770)


def discard(engine: Engine, instance_id: str) -> None:
    """Move an instance's upper folder, if it has one, to the trash, which a job empties."""
    with suppress(FileNotFoundError):
        trash(engine.layout.instances, engine.layout.instances / instance_id)


def trash(top: Path, folder: Path) -> None:
    """Rename a folder into `top/.trash`, under a name that is free. Raises FileNotFoundError."""
    bin_ = top / TRASH
    bin_.mkdir(mode=0o700, exist_ok=True)
    number = 0
    while True:
        target = bin_ / f"{folder.name}.{number}"
        if not target.exists():
            folder.rename(target)
            return
        number += 1


def empty_trash(tops: tuple[Path, ...]) -> None:
    """Remove everything in the trash folders below `tops`, with no more rights than that takes."""
    from runtime.image.removal import remove_tree

    sc.capset(_REMOVAL_CAPS, _REMOVAL_CAPS, 0)
    sc.prctl(sc.PR_SET_NO_NEW_PRIVS, 1)
    for top in tops:
        with suppress(FileNotFoundError):
            folder = os.open(top / TRASH, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            for name in os.listdir(folder):
                remove_tree(folder, name)
            os.close(folder)

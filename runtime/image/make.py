"""Makes layers out of hostile trees and archives: root opens and publishes, a confined child does the reading.

Runs in a process forked from the spawner. The child sees two folders and nothing else; it writes the tree through a
mount that maps its own id to the app user's, and the tar through a pipe. Root sees a stream of bytes, which it hashes and
stores, and a short answer of numbers and names.
"""

from __future__ import annotations

import fcntl
import io
import os
import re
import signal
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from runtime.home import Layout
from runtime.image import errors, names, zstd
from runtime.image.errors import BadArchive, ImageError, NotFound, TooLarge
from runtime.image.layerstore import Layer, LayerStore
from runtime.image.layerwriter import BENEATH, LayerWriter, Limits, set_opaque
from runtime.image.newblob import NewBlob, link_stack_blobs, sweep_blobs
from runtime.image.snapshot import find_opaque, snapshot
from runtime.image.tarwriter import APP_OWNER
from runtime.image.unpack import plain, unpack
from runtime.kernel import syscalls, userns
from runtime.kernel.confine import Bounds, ConfineError, User, box_user, confine
from runtime.kernel.files import FOLDER, write_all
from runtime.kernel.poll import readable

WALL_S = 300.0
IMAGE_IDS = (1 << 32) - (1 << 26)
"""The first of 65,536 ids that children use who keep an archive's owners: behind the blocks of all homes."""

FIRST_ID = 1 << 17
"""Container id 0, as the child that makes a layer numbers it: an id that is none of the container's, which the kernel
shows as 65534, can then be told from the container's own 65534."""

_MAX_OPAQUE = 1000
_MAX_ANSWER = _MAX_OPAQUE * (names.MAX_PATH + 1) + 1000
_PIPE = 1024 * 1024
_F_SETPIPE_SZ = 1031
_MAX_TOP = 1000
_MOUNTED = frozenset({b"dev", b"proc", b"sys"})
_SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}\.tar")
_PRIVATE = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV | syscalls.MOUNT_ATTR_NOEXEC


@dataclass(frozen=True)
class Reader:
    """The user that a confined child runs as, and a user namespace (a descriptor) that maps owners on disk to its ids."""

    user: User
    userns_fd: int

    @property
    def first_id(self) -> int | None:
        """Container id 0 for a child that keeps owners; see LayerWriter."""
        return None if self.user.namespace is None else FIRST_ID


def box_reader(user: User | None = None) -> Reader:
    """A reader without a privilege, whose uid nothing else has: every file becomes the app user's. Keep it: it owns a
    descriptor. Raises ConfineError without that user."""
    user = user or box_user()
    return Reader(user, userns.make(user.uid, first=APP_OWNER, count=1, gid_base=user.gid))


def owners_reader(id_base: int = IMAGE_IDS, userns_fd: int | None = None) -> Reader:
    """A reader that keeps the owners of files, and reads those of the ids `id_base`… whoever may. `userns_fd` maps 0… to
    `id_base`…; one is made if there is none. Keep it: it owns descriptors."""
    user = User(FIRST_ID + APP_OWNER, FIRST_ID + APP_OWNER, userns.make(id_base, first=FIRST_ID))
    return Reader(user, userns.make(id_base) if userns_fd is None else userns_fd)


def layer_store(layout: Layout) -> LayerStore:
    return LayerStore(layout.layers, layout.stacks)


def run_unpack(
    layout: Layout, source: str, reader: Reader, limits: Limits | None = None, *, image: bool = False
) -> Layer | None:
    """Make a layer of the archive `source`, a file name in `sources/`; None when it is empty. Raises ImageError.

    With `image` it is a layer of an image from elsewhere: maybe compressed, and it may hide what is below.
    """
    if not _SOURCE.fullmatch(source):
        raise NotFound(f"{source[:80]!r} is not the name of a source")
    archive = _open_file(layout.sources, source)
    try:
        return _unpack(layout, archive, reader, limits, whiteouts=image, image=image)
    finally:
        os.close(archive)


def run_snapshot(
    layout: Layout,
    instance: str,
    paths: Collection[str],
    layers: Collection[str],
    reader: Reader,
    limits: Limits | None = None,
    *,
    without: Collection[str] = (),
) -> Layer | None:
    """Make a layer of `paths` (absolute; `/` is all but what containers get mounted) of what an ended instance wrote over
    `layers` (digests), `without` other paths.

    None when it wrote nothing there. Raises ImageError.
    """
    wanted = [_inside(path) for path in paths if path != "/"]
    left_out = frozenset(map(_inside, without))
    store = layer_store(layout)
    with ExitStack() as stack:
        upper = os.open(layout.instances / instance / "upper", FOLDER)
        stack.callback(os.close, upper)
        if "/" in paths:
            wanted += _top(upper)
        lowers = []
        for digest in layers:
            lowers.append(os.open(store.path(digest), FOLDER))
            stack.callback(os.close, lowers[-1])
        opaque = find_opaque(upper, wanted, lowers)

        def make(writer: LayerWriter) -> None:
            upper = os.open("/upper", FOLDER)
            first_id = reader.first_id or 0
            snapshot(upper, wanted, writer, opaque=opaque, first_id=first_id, without=left_out)

        return _make_layer(layout, make, reader, limits, read={"upper": upper})


def _top(upper: int) -> list[bytes]:
    found = [name for name in map(os.fsencode, os.listdir(upper)) if name not in _MOUNTED]
    if len(found) > _MAX_TOP:
        raise TooLarge(f"{len(found)} names at the root of a container; {_MAX_TOP} can become a layer")
    return found


def _inside(path: str) -> bytes:
    if not (found := names.normal(os.fsencode(path.lstrip("/")))):
        raise BadArchive("the root of a container is no path inside it")
    return found


def run_repair(layout: Layout, reader: Reader) -> list[tuple[str, bool]]:
    """After a start: sweep leftovers, link the stacks' blobs, bring new layers to the disk, and make those layers again
    from their blobs that a power cut may have damaged.

    Returns (digest, repaired) of these; a layer whose blob is damaged too is removed.
    """
    store = layer_store(layout)
    store.sweep()
    sweep_blobs(layout.images)
    link_stack_blobs(layout.stacks, layout.images)
    outcome = []
    for layer in store.doubtful():
        store.remove(layer.digest)
        made = None
        with suppress(ImageError, OSError):
            blob = _open_file(layout.images / "blobs" / "sha256", names.digest_hex(layer.digest))
            try:
                made = _unpack(layout, blob, reader, Limits(reserve_bytes=0), whiteouts=True)
            finally:
                os.close(blob)
        if made is not None and made.digest != layer.digest:
            store.remove(made.digest)
        outcome.append((layer.digest, made is not None and made.digest == layer.digest))
    store.sync()
    return outcome


def _unpack(
    layout: Layout,
    archive: int,
    reader: Reader,
    limits: Limits | None,
    *,
    whiteouts: bool,
    image: bool = False,
) -> Layer | None:
    if image:
        import gzip  # before the child is confined: then it sees no library  # noqa: F401

        zstd.load()

    def make(writer: LayerWriter) -> None:
        with io.BufferedReader(io.FileIO(archive, closefd=False), 256 * 1024) as file:
            unpack(plain(file) if image else file.read, writer, whiteouts=whiteouts, image=image)

    return _make_layer(layout, make, reader, limits, keep=(archive,))


def _open_file(folder: Path, name: str) -> int:
    """A regular file of a folder that a less privileged user owns."""
    parent = os.open(folder, FOLDER)
    try:
        fd = syscalls.openat2(parent, name, os.O_RDONLY | os.O_NONBLOCK, resolve=BENEATH)
    except FileNotFoundError:
        raise NotFound(f"there is no file {name} in {folder}") from None
    except OSError as error:
        raise NotFound(f"{name} in {folder} is no regular file: {error.strerror}") from error
    finally:
        os.close(parent)
    if not os.path.isfile(f"/proc/self/fd/{fd}"):
        os.close(fd)
        raise NotFound(f"{name} in {folder} is no regular file")
    return fd


def _make_layer(
    layout: Layout,
    make: Callable[[LayerWriter], None],
    reader: Reader,
    limits: Limits | None,
    *,
    keep: Collection[int] = (),
    read: Mapping[str, int] | None = None,
) -> Layer | None:
    """Run `make` in a confined child and publish its layer."""
    limits = limits or Limits()
    store = layer_store(layout)
    with ExitStack() as stack:
        staging = stack.enter_context(store.staging())
        blob = stack.enter_context(NewBlob(layout.images))
        staged = os.open(staging / "tree", FOLDER)
        stack.callback(os.close, staged)
        view = {"tree": _mapped(staging / "tree", reader.userns_fd)}
        stack.callback(os.close, view["tree"])
        for name, fd in (read or {}).items():
            view[name] = _read_only(fd)
            stack.callback(os.close, view[name])
        child = stack.enter_context(_Child(make, reader, limits, keep, view))

        def write(data: bytes) -> None:
            status = os.fstatvfs(staged)
            if status.f_bavail * status.f_frsize < limits.reserve_bytes:
                raise TooLarge(f"the server's disk has less than {limits.reserve_bytes >> 20} MiB left")
            blob.write(data)

        child.drain(write, most=2 * limits.size_bytes + 4096 * limits.files)
        files, opaque = child.answer()
        if not files:
            return None
        set_opaque(staged, opaque)
        digest = blob.publish()
        return store.publish(staging, digest, blob.size_bytes, files)


def _mapped(path: Path, userns_fd: int) -> int:
    fd = syscalls.open_tree(
        syscalls.AT_FDCWD, str(path), syscalls.OPEN_TREE_CLONE | syscalls.OPEN_TREE_CLOEXEC
    )
    syscalls.mount_setattr(fd, syscalls.MOUNT_ATTR_IDMAP | _PRIVATE, userns_fd=userns_fd)
    return fd


def _read_only(folder: int) -> int:
    flags = syscalls.OPEN_TREE_CLONE | syscalls.OPEN_TREE_CLOEXEC | syscalls.AT_EMPTY_PATH
    fd = syscalls.open_tree(folder, "", flags)
    syscalls.mount_setattr(fd, syscalls.MOUNT_ATTR_RDONLY | _PRIVATE)
    return fd


class _Child:
    """The confined process: a pipe for the tar, a pipe for the answer. Killed if it is still there at the end."""

    def __init__(
        self,
        make: Callable[[LayerWriter], None],
        reader: Reader,
        limits: Limits,
        keep: Collection[int],
        view: Mapping[str, int],
    ) -> None:
        self._tar, tar = os.pipe2(os.O_CLOEXEC)
        self._answer, answer = os.pipe2(os.O_CLOEXEC)
        with suppress(OSError):
            fcntl.fcntl(tar, _F_SETPIPE_SZ, _PIPE)
        self._deadline = time.monotonic() + WALL_S
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                keep = (*keep, tar, answer)
                confinement = partial(confine, keep=keep, user=reader.user, view=view, parent=parent)
                _send(answer, _in_child(make, confinement, list(view), limits, tar, reader.first_id))
            finally:
                os._exit(0)
        os.close(tar)
        os.close(answer)

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._tar)
        os.close(self._answer)
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)

    def drain(self, write: Callable[[bytes], None], *, most: int) -> None:
        """Pass the tar on as it comes. Raises TooLarge."""
        while data := self._read(self._tar, _PIPE):
            most -= len(data)
            if most < 0:
                raise TooLarge("the archive of the layer is larger than a layer may be")
            write(data)

    def answer(self) -> tuple[int, list[bytes]]:
        """Number of files, and folders to make opaque. Raises the ImageError that the child met."""
        text = b""
        while len(text) <= _MAX_ANSWER and (data := self._read(self._answer, 65536)):
            text += data
        if len(text) > _MAX_ANSWER:
            raise ImageError("the child that makes layers has too much to say")
        status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        self._pid = 0
        words = text.split(b"\0")
        if status == 0 and words[0] == b"ok" and len(words) >= 3 and re.fullmatch(rb"[0-9]{1,9}", words[1]):
            return int(words[1]), words[2:-1]
        if status == 0 and words[0] == b"error" and len(words) == 3:
            raise _ERRORS.get(words[1].decode("ascii", "replace"), ImageError)(
                words[2].decode("utf-8", "replace")[:500]
            )
        raise ImageError(f"the child that makes layers ended with status {status}")

    def _read(self, fd: int, size: int) -> bytes:
        left = self._deadline - time.monotonic()
        if left <= 0 or not readable(fd, left):
            raise TooLarge(f"making the layer took longer than {WALL_S:.0f} s")
        return os.read(fd, size)


_ERRORS = {
    kind.code: kind
    for kind in (errors.BadArchive, errors.BadTree, errors.TooLarge, errors.NotFound, errors.Damaged)
}


def _in_child(
    make: Callable[[LayerWriter], None],
    confinement: Callable[[Bounds], object],
    view: Sequence[str],
    limits: Limits,
    tar: int,
    first_id: int | None,
) -> list[bytes]:
    """In the child: confine it and make the layer; the words of the answer."""
    bounds = Bounds(
        write=["/tree"],
        read=[f"/{name}" for name in view if name != "tree"],
        cpu_s=int(WALL_S),
        wall_s=WALL_S,
        file_bytes=limits.size_bytes,
    )
    try:
        os.umask(0)
        confinement(bounds)
        with io.BufferedWriter(io.FileIO(tar, "w"), _PIPE) as stream:
            writer = LayerWriter(os.open("/tree", FOLDER), stream.write, limits, first_id)
            make(writer)
        if len(writer.opaque) > _MAX_OPAQUE:
            raise TooLarge(f"more than {_MAX_OPAQUE} folders that hide others")
    except ImageError as error:
        return _refusal(error.code, str(error))
    except MemoryError:
        return _refusal(TooLarge.code, "making the layer takes too much memory")
    except (OSError, ConfineError) as error:
        return _refusal(ImageError.code, f"the child that makes layers: {error}")
    return [b"ok", b"%d" % writer.files, *writer.opaque, b""]


def _refusal(code: str, message: str) -> list[bytes]:
    return [b"error", code.encode(), message.encode("utf-8", "replace")]


def _send(answer: int, words: list[bytes]) -> None:
    write_all(answer, b"\0".join(word.replace(b"\0", b"") for word in words))

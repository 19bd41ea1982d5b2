"""Writes blobs as root into an image layout of a less privileged user.

That user may rename and link anything in its folders, so no path in them is followed: folders are opened one by one,
files are made with O_EXCL, changed by descriptor and named by rename.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

from runtime.image.names import digest_hex
from runtime.kernel.files import FOLDER, STAGED, write_all


class NewBlob:
    """A blob that is being written, and hashed at the same time."""

    def __init__(self, images: Path) -> None:
        import hashlib  # here, since its library is a tenth of an idle spawner

        self._folder = blob_folder(images)
        self._name = f"{STAGED}{os.urandom(8).hex()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(self._name, flags, 0o644, dir_fd=self._folder)
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    def __enter__(self) -> NewBlob:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._name, dir_fd=self._folder)
        os.close(self._fd)
        os.close(self._folder)

    def write(self, data: bytes) -> None:
        self._hash.update(data)
        self.size_bytes += len(data)
        write_all(self._fd, data)

    def publish(self) -> str:
        """Write the blob to the disk under its digest; returns the digest."""
        owner = os.fstat(self._folder)
        os.fchown(self._fd, owner.st_uid, owner.st_gid)
        os.fsync(self._fd)
        name = self._hash.hexdigest()
        os.rename(self._name, name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        os.fsync(self._folder)
        return f"sha256:{name}"


def blob_folder(images: Path) -> int:
    """A descriptor of `images/blobs/sha256`, made if missing with the owner of `images`; no link is followed."""
    current = os.open(images, FOLDER)
    owner = os.fstat(current)
    for name in ("blobs", "sha256"):
        with suppress(FileExistsError):
            os.mkdir(name, 0o2755, dir_fd=current)
            os.chown(name, owner.st_uid, owner.st_gid, dir_fd=current, follow_symlinks=False)
        inner = os.open(name, FOLDER, dir_fd=current)
        os.close(current)
        current = inner
    return current


def used_since(images: Path, digest: str, moment: float) -> bool:
    """Whether a build made or reused the blob at `moment` (unix seconds) or later."""
    folder = blob_folder(images)
    try:
        return os.stat(digest_hex(digest), dir_fd=folder, follow_symlinks=False).st_mtime >= moment
    except FileNotFoundError:
        return False
    finally:
        os.close(folder)


def sweep_blobs(images: Path) -> None:
    """Remove half-written blobs of a killed process. Call at start only."""
    folder = blob_folder(images)
    try:
        for name in os.listdir(folder):
            if name.startswith(STAGED):
                with suppress(FileNotFoundError):  # a child of the killed process may remove its own
                    os.unlink(name, dir_fd=folder)
    finally:
        os.close(folder)


def link_stack_blobs(stacks: Path, images: Path) -> None:
    """Link the blobs of all stacks into an image layout, which is then complete for other tools. Called by root at start.

    The links are hard on one file system, else symbolic.
    """
    source = stacks / "blobs" / "sha256"
    if not source.is_dir():
        return
    folder = blob_folder(images)
    try:
        for name in os.listdir(source):
            with suppress(FileNotFoundError):
                if os.path.islink(f"/proc/self/fd/{folder}/{name}"):
                    os.unlink(name, dir_fd=folder)
            with suppress(FileExistsError, FileNotFoundError):
                _link(source / name, name, folder)
    finally:
        os.close(folder)


def _link(source: Path, name: str, folder: int) -> None:
    try:
        os.link(source, name, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM):
            raise
        os.symlink(source, name, dir_fd=folder)

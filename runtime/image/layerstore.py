"""The layer store: unpacked layers by digest, below a folder that only root may enter.

`layers/HEX/` is the root of a layer, `layers/HEX.json` its description; `layers/.new/` holds layers that are being made or
removed. A layer appears by one rename. Its files reach the disk a moment later (`sync`); after a power cut before that
the layer is made again from its blob, which is on disk before anyone learns the digest.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from runtime.image.errors import NotFound
from runtime.image.names import digest_hex
from runtime.image.removal import remove_tree
from runtime.image.tarwriter import APP_OWNER, LAYER_MTIME
from runtime.kernel import files, syscalls
from runtime.kernel.process import boot_id

_NEW = ".new"


@dataclass(frozen=True)
class Layer:
    """One layer. `size_bytes` is its tar's size; `unsynced_boot` the boot in which it was made, until synced."""

    digest: str
    size_bytes: int
    files: int
    unsynced_boot: str | None = None


class LayerStore:
    """The layers of one home, and read-only those of the machine's stacks. Needs root."""

    def __init__(self, layers: Path, stacks: Path) -> None:
        self.folder = layers
        self.stacks = stacks

    def path(self, digest: str) -> Path:
        """The folder of an unpacked layer: of this home, else of the stacks. Raises NotFound, ValueError if malformed."""
        name = digest_hex(digest)
        for parent in (self.folder, self.stacks / "layers"):
            with suppress(FileNotFoundError):
                if stat.S_ISDIR(os.lstat(parent / name).st_mode):
                    return parent / name
        raise NotFound(f"layer {digest} is not on this machine")

    def get(self, digest: str) -> Layer | None:
        """The description of a layer of this home."""
        name = digest_hex(digest)
        try:
            layer = Layer(**json.loads((self.folder / f"{name}.json").read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            layer = Layer(digest, 0, 0, "unknown")
        return layer if (self.folder / name).is_dir() else None

    def all(self, *, after: str = "", most: int | None = None) -> list[Layer]:
        """The layers of this home, sorted by digest: the first `most` of those behind `after`."""
        found = (f"sha256:{name}" for name in sorted(os.listdir(self.folder)) if len(name) == 64)
        digests = islice((digest for digest in found if digest > after), most)
        return [self.get(digest) or Layer(digest, 0, 0, "unknown") for digest in digests]

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A new folder in the store with an empty `tree` of the app user; removed at the end."""
        parent = self.folder / _NEW
        parent.mkdir(mode=0o700, exist_ok=True)
        name = os.urandom(8).hex()
        (parent / name).mkdir(mode=0o700)
        tree = parent / name / "tree"
        tree.mkdir(mode=0o700)
        os.chown(tree, APP_OWNER, APP_OWNER)
        try:
            yield parent / name
        finally:
            self._discard(name)

    def publish(self, staging: Path, digest: str, size_bytes: int, files: int) -> Layer:
        """Give a staged tree its name. An existing layer stays as it is."""
        layer = Layer(digest, size_bytes, files, boot_id())
        with self._locked():
            known = self.get(digest)
            if known is not None:
                return known
            tree = staging / "tree"
            os.chown(tree, 0, 0)
            tree.chmod(0o755)
            os.utime(tree, (LAYER_MTIME, LAYER_MTIME))
            self._describe(layer)
            try:
                tree.rename(self.folder / digest_hex(digest))
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
        return layer

    def remove(self, digest: str, wanted: Callable[[], bool] = lambda: False) -> bool:
        """Remove a layer of this home unless `wanted()`; returns False if it is wanted.

        `wanted` is called while no layer can be published. Does nothing if there is no such layer."""
        name = digest_hex(digest)
        parent = self.folder / _NEW
        parent.mkdir(mode=0o700, exist_ok=True)
        target = f"gone-{os.urandom(8).hex()}"
        with self._locked():
            if wanted():
                return False
            (self.folder / f"{name}.json").unlink(missing_ok=True)
            with suppress(FileNotFoundError):
                (self.folder / name).rename(parent / target)
        self._discard(target)
        return True

    def sync(self) -> None:
        """Write new layers to the disk and record that. Slow; no caller needs to wait for it."""
        waiting = [layer for layer in self.all() if layer.unsynced_boot == boot_id()]
        if not waiting:
            return
        fd = os.open(self.folder, files.FOLDER)
        try:
            syscalls.syncfs(fd)
        finally:
            os.close(fd)
        for layer in waiting:
            if self.get(layer.digest) is not None:
                self._describe(Layer(layer.digest, layer.size_bytes, layer.files))

    def doubtful(self) -> list[Layer]:
        """Layers that an earlier boot made and did not sync."""
        return [layer for layer in self.all() if layer.unsynced_boot not in (None, boot_id())]

    def sweep(self) -> None:
        """Remove leftovers of a killed process: staged trees and files, descriptions without a layer. Call at start only."""
        with suppress(FileNotFoundError):
            for name in os.listdir(self.folder / _NEW):
                self._discard(name)
        for name in os.listdir(self.folder):
            described = name[64:] == ".json" and (self.folder / name[:64]).is_dir()
            if name.startswith(files.STAGED) or (name[64:70].startswith(".json") and not described):
                (self.folder / name).unlink(missing_ok=True)

    def _locked(self) -> AbstractContextManager[int]:
        """While it is held no layer appears and none goes."""
        return files.locked(self.folder, create=False)

    def _discard(self, name: str) -> None:
        fd = os.open(self.folder / _NEW, files.FOLDER)
        try:
            remove_tree(fd, name)
        finally:
            os.close(fd)

    def _describe(self, layer: Layer) -> None:
        path = self.folder / f"{digest_hex(layer.digest)}.json"
        files.replace(path, json.dumps(asdict(layer)), durable=False)

"""A home with a layer store and an image layout, and nothing running."""

from __future__ import annotations

import io
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runtime.home import Layout
from runtime.image import make
from runtime.image.layerstore import LayerStore
from runtime.image.tarwriter import TarWriter
from runtime.kernel.confine import User

BASE = 65536 * 7000
PAAS = 64900
BOX = User(64901, 64902)


@dataclass(frozen=True)
class Home:
    layout: Layout
    box: make.Reader
    app: make.Reader

    @property
    def store(self) -> LayerStore:
        return make.layer_store(self.layout)

    def source(self, name: str, *files: tuple[bytes, bytes]) -> str:
        stream = io.BytesIO()
        tar = TarWriter(stream.write)
        tar.directory(b"app")
        for path, content in files:
            tar.file(path, 0o644, len(content), [content])
        tar.finish()
        (self.layout.sources / name).write_bytes(stream.getvalue())
        return name

    def upper(self, name: str = "i1") -> Path:
        path = self.layout.instances / name / "upper"
        path.mkdir(parents=True)
        return path

    def blob(self, digest: str) -> Path:
        return self.layout.images / "blobs" / "sha256" / digest.removeprefix("sha256:")

    def tags(self) -> dict[str, str]:
        """Tag → digest of the manifest, as other tools read them."""
        entries = json.loads((self.layout.images / "index.json").read_bytes())["manifests"]
        return {
            entry["annotations"]["org.opencontainers.image.ref.name"]: entry["digest"] for entry in entries
        }

    def leftovers(self) -> list[str]:
        new = [*self.layout.layers.glob(".new/*"), *self.layout.images.glob("blobs/sha256/.new-*")]
        return [str(path) for path in new]


@contextmanager
def layer_home(folder: Path) -> Iterator[Home]:
    """Made below `folder`; at the end nothing half-made may be left in it."""
    layout = Layout(folder / "home", folder / "stacks", "c0ffee")
    for path in (layout.sources, layout.images, layout.layers, layout.instances):
        path.mkdir(parents=True, mode=0o700)
    os.chown(layout.images, PAAS, PAAS)
    made = Home(layout, make.box_reader(BOX), make.owners_reader(BASE))
    yield made
    assert made.leftovers() == []
    assert made.app.user.namespace is not None
    for fd in (made.box.userns_fd, made.app.userns_fd, made.app.user.namespace):
        os.close(fd)


def give(path: Path, owner: int = BASE + 1000) -> None:
    """Make a tree an app's."""
    os.lchown(path, owner, owner)
    if path.is_dir() and not path.is_symlink():
        for inner in path.iterdir():
            give(inner, owner)


def modes(tree: Path) -> dict[str, tuple[str, int, int, int]]:
    found = {}
    for path in sorted(tree.rglob("*")):
        s = path.lstat()
        found[str(path.relative_to(tree))] = (stat.filemode(s.st_mode), s.st_uid, s.st_gid, int(s.st_mtime))
    return found


def listing(tree: Path) -> list[str]:
    return sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))

"""Layers between builds: what the last build left is given back to its buildpack, and what this one leaves is kept.

The folder of what is kept has, per buildpack, `NAME.toml` and the folder `NAME` of each layer. A layer's contents come back if
it is for the cache; of one that is for launch alone its metadata does, and the contents when the build only says so.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from buildpacks.lifecycle.descriptor import Buildpack, Refused, read_toml
from buildpacks.lifecycle.tomltext import table

_NO_LAYERS = ("build", "launch", "store")
_MOST = 200


@dataclass(frozen=True)
class Layer:
    """A layer that a buildpack made: its folder, and what it is for."""

    folder: Path
    launch: bool
    build: bool
    cache: bool
    metadata: dict[str, Any]

    @property
    def kept(self) -> bool:
        """Whether the next build hears of it."""
        return self.cache or (self.launch and not self.build)

    @property
    def toml(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.toml")

    def written(self) -> str:
        types = {"launch": self.launch, "build": self.build, "cache": self.cache}
        return f"{table('types', types)}\n{table('metadata', self.metadata)}"


def read_layers(folder: Path, pack: Buildpack) -> list[Layer]:
    """The layers of a buildpack that are for something, sorted by name. Raises Refused."""
    found = []
    for path in sorted(folder.glob("*.toml")):
        if path.stem in _NO_LAYERS:
            continue
        read = read_toml(path, f"the buildpack {pack}")
        types, metadata = read.get("types"), read.get("metadata")
        types = types if isinstance(types, dict) else {}
        launch, build, cache = (types.get(name) is True for name in ("launch", "build", "cache"))
        if launch or build or cache:
            metadata = metadata if isinstance(metadata, dict) else {}
            found.append(Layer(folder / path.stem, launch, build, cache, metadata))
    if len(found) > _MOST:
        raise Refused(f"the buildpack {pack} made {len(found)} layers, more than {_MOST}")
    return found


class Shelf:
    """What builds of this app keep for each other, in the folder `kept`; `layers` has those of this build."""

    def __init__(self, kept: Path, layers: Path) -> None:
        self._kept, self._layers = kept, layers
        self._restored: dict[Path, str] = {}

    def restore(self, pack: Buildpack) -> None:
        """Make the folder of the buildpack's layers, with what the last build kept. Raises Refused."""
        old, new = self._kept / pack.escaped, self._layers / pack.escaped
        new.mkdir(parents=True)
        if (old / "store.toml").is_file():
            copy(old / "store.toml", new / "store.toml")
        for layer in read_layers(old, pack):
            folder = new / layer.folder.name
            if not layer.folder.is_dir():  # a build ended while it kept this one
                continue
            folder.with_name(f"{folder.name}.toml").write_text(table("metadata", layer.metadata))
            if layer.cache:
                copy(layer.folder, folder)
                self._restored[folder] = _listing(folder)

    def complete(self, pack: Buildpack, layer: Layer) -> None:
        """Give a launch layer its contents of the last build if this one left none. Raises Refused if there are none."""
        old = self._kept / pack.escaped / layer.folder.name
        if layer.folder.is_dir():
            return
        if not old.is_dir():
            raise Refused(f"the layer {layer.folder.name} of the buildpack {pack} has no contents")
        copy(old, layer.folder)
        self._restored[layer.folder] = _listing(layer.folder)

    def keep(self, made: list[tuple[Buildpack, list[Layer]]]) -> None:
        """Keep this build's layers instead of those of the last. What did not change is moved, not copied."""
        fresh, gone = self._kept.with_name("fresh"), self._kept.with_name("gone")
        remove(fresh)
        for pack, layers in made:
            folder = fresh / pack.escaped
            folder.mkdir(parents=True)
            store = self._layers / pack.escaped / "store.toml"
            if store.is_file():
                copy(store, folder / "store.toml")
            for layer in layers:
                if layer.kept and layer.folder.is_dir():
                    (folder / f"{layer.folder.name}.toml").write_text(layer.written())
                    self._keep_folder(layer.folder, self._kept / pack.escaped, folder)
        remove(gone)
        if self._kept.exists():
            self._kept.rename(gone)
        fresh.rename(self._kept)
        remove(gone)

    def _keep_folder(self, made: Path, old: Path, new: Path) -> None:
        before = self._restored.get(made)
        if before is not None and before == _listing(made) and (old / made.name).is_dir():
            (old / made.name).rename(new / made.name)
        else:
            copy(made, new / made.name)


def copy(source: Path, target: Path) -> None:
    """Copy a file or a folder as it is. Raises Refused."""
    command = ("cp", "-a", "--reflink=auto", "-T", "--", source, target)
    if subprocess.run(command, check=False).returncode:
        raise Refused(f"the layer {source.name} cannot be copied")


def remove(folder: Path) -> None:
    """Remove a folder of this build; none is fine."""
    subprocess.run(["chmod", "-Rf", "u+rwX", "--", folder], check=False, stderr=subprocess.DEVNULL)
    subprocess.run(["rm", "-rf", "--", folder], check=False)


def _listing(folder: Path) -> str:
    """Whatever changes when a file of the folder does."""
    lines, left = [], [str(folder)]
    while left:  # a recursion would end at Python's bound for a deep tree
        root = left.pop()
        try:
            with os.scandir(root) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    status = entry.stat(follow_symlinks=False)
                    lines.append(f"{entry.path} {status.st_mode} {status.st_size} {status.st_mtime_ns}")
                    if entry.is_dir(follow_symlinks=False):
                        left.append(entry.path)
        except OSError:
            lines.append(os.urandom(16).hex())  # what cannot be read may have changed
    return "\n".join(lines)

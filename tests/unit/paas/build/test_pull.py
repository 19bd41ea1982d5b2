"""Pulling over a real store, with a source in memory and a spawner that only remembers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from paas.build import disk
from paas.build.pull import MOST_BYTES, MOST_LAYERS, Pull, Pulled, stored_image
from paas.build.step import MadeLayer
from paas.nouns.errors import BuildFailed, Cancelled, Unavailable
from paas.nouns.settings import load
from paas.store import Store, apps, images
from runtime.client import SpawnerError
from runtime.image.distribution import GZIP_LAYER, Blob, Manifest
from runtime.image.errors import Damaged
from runtime.image.ocilayout import ARCHITECTURE, CONFIG, EPOCH, ImageStore


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Spawner:
    """Makes of each file a layer that is its upper-case text; of an empty one none."""

    def __init__(self, folder: Path, blobs: Path) -> None:
        self.sources, self.blobs = folder, blobs
        self.refuse, self.vanish = "", 0

    def unpack(self, tar: str, *, image: bool = False) -> MadeLayer:
        assert image
        if self.refuse:
            raise SpawnerError(self.refuse, "a sparse file")
        data = (self.sources / tar).read_bytes().upper()
        self.vanish -= 1
        if data and self.vanish < 0:
            (self.blobs / hashlib.sha256(data).hexdigest()).write_bytes(data)
        return MadeLayer(digest_of(data) if data else "", len(data), 1)


class Memory:
    """A source of one image; `asked` are the blobs that were read."""

    def __init__(self, *layers: bytes, kind: str = GZIP_LAYER, **config: Any) -> None:
        diff_ids = [digest_of(b"plain " + layer) for layer in layers]
        config = {"rootfs": {"diff_ids": diff_ids}, "config": {"Cmd": ["run"]}, **config}
        self.blobs = {digest_of(data): data for data in (*layers, json.dumps(config).encode())}
        top = [*self.blobs][-1]
        named = tuple(Blob(kind, digest_of(layer), len(layer)) for layer in layers)
        self.manifest = Manifest(Blob(CONFIG, top, len(self.blobs[top])), named)
        self.asked: list[str] = []

    def read_manifest(self, name: str, architecture: str) -> tuple[str, Manifest]:
        assert (name, architecture) == ("v1", ARCHITECTURE)
        return "sha256:" + "f" * 64, self.manifest

    def read_blob(self, blob: Blob, write: Callable[[bytes], object]) -> None:
        if blob.digest not in self.blobs:
            raise Damaged("other bytes")
        self.asked.append(blob.digest)
        write(self.blobs[blob.digest])


class Place:
    def __init__(self, folder: Path) -> None:
        flags = {"home": str(folder), "stacks": str(folder / "stacks")}
        self.settings = replace(load(flags, {}, None), id="0a0b0c")
        self.layout = self.settings.layout()
        for path in (self.layout.database.parent, self.layout.sources, self.layout.builds, folder / "stacks"):
            path.mkdir()
        blobs = self.layout.images / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        self.store = Store.open(self.layout.database)
        self.spawner = Spawner(self.layout.sources, blobs)
        with self.store.write() as tx:
            self.app = apps.create(tx, "hello", None)

    def pull(self, source: Memory, cancelled: bool = False, **app: Any) -> Pulled:
        pulled = Pull(cast(Any, self), replace(self.app, **app), source, lambda text: None, lambda: cancelled)
        try:
            return pulled.run("v1")
        finally:
            assert not list(self.layout.sources.iterdir())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.store.close()


def test_each_layer_is_read_once_by_an_app(place: Place) -> None:
    source = Memory(b"low", b"", b"high")
    pulled = place.pull(source)
    assert pulled.layers == (digest_of(b"LOW"), "", digest_of(b"HIGH"))
    assert pulled.stacked == (digest_of(b"LOW"), digest_of(b"HIGH"))
    assert len(source.asked) == 4
    again = Memory(b"low", b"", b"high", extra=1)
    assert place.pull(again).layers == pulled.layers
    assert again.asked == [again.manifest.config.digest]
    other = Memory(b"low")
    place.pull(other, id="another")
    assert digest_of(b"low") in other.asked


def test_a_layer_that_the_clean_up_took_is_read_again(place: Place) -> None:
    place.pull(Memory(b"low"))
    (place.spawner.blobs / hashlib.sha256(b"LOW").hexdigest()).unlink()
    source = Memory(b"low")
    place.pull(source)
    assert digest_of(b"low") in source.asked


def test_a_layer_that_a_clean_up_takes_before_its_row_is_there_is_made_again(place: Place) -> None:
    place.spawner.vanish = 1
    source = Memory(b"low")
    assert place.pull(source).layers == (digest_of(b"LOW"),)
    assert source.asked.count(digest_of(b"low")) == 2
    place.spawner.vanish = 9
    with pytest.raises(Unavailable, match="as soon as it is made"):
        place.pull(Memory(b"high"))


def test_layers_of_the_apps_own_images_are_not_read(place: Place) -> None:
    source = Memory(b"low")
    image, _ = stored_image(cast(Any, place), place.app, place.pull(source))
    own = Memory(b"packed", rootfs={"diff_ids": list(image.layers)})
    assert place.pull(own).layers == image.layers
    assert own.asked == [own.manifest.config.digest]
    stranger = Memory(b"packed", rootfs={"diff_ids": list(image.layers)})
    assert place.pull(stranger, id="another").layers == (digest_of(b"PACKED"),)


def test_layers_that_unpack_to_too_much_together_are_refused(place: Place) -> None:
    place.settings = replace(place.settings, builds_disk_bytes=10)
    with pytest.raises(BuildFailed, match="unpack to more than 10 bytes") as refused:
        place.pull(Memory(b"12345", b"67890", b"!"))
    assert refused.value.cause == "too large"


def test_what_the_disk_has_no_room_for_is_not_written(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "RESERVE_BYTES", 1 << 60)
    with pytest.raises(BuildFailed) as refused:
        place.pull(Memory(b"low"))
    assert refused.value.cause == "disk full"


def test_an_image_becomes_a_row_and_a_configuration_of_our_layers(place: Place) -> None:
    history = [{"created_by": "ADD"}, {"created_by": "ENV", "empty_layer": True}]
    image, found = stored_image(
        cast(Any, place), place.app, place.pull(Memory(b"low", history=history, created="x"))
    )
    stored = ImageStore(place.layout.images, place.layout.stacks).read(image.digest)
    assert stored.layers == image.layers == (digest_of(b"LOW"),)
    assert stored.config["rootfs"]["diff_ids"] == list(image.layers)
    assert (stored.config["created"], stored.config["history"]) == ("x", history)
    assert stored.made_by() == {image.layers[0]: "ADD"}
    assert image.processes == found.processes == {"web": "run"}
    with place.store.read() as tx:
        assert images.get(tx, place.app.id, image.digest) == image


def test_of_a_layer_that_is_there_twice_the_upper_counts(place: Place) -> None:
    history = [{"created_by": name} for name in "abc"]
    pulled = place.pull(Memory(b"low", b"high", b"low", history=history))
    assert pulled.stacked == (digest_of(b"HIGH"), digest_of(b"LOW"))
    image, _ = stored_image(cast(Any, place), place.app, pulled)
    assert "history" not in ImageStore(place.layout.images, place.layout.stacks).read(image.digest).config


def test_what_a_push_of_ours_added_is_taken_off_again(place: Place) -> None:
    labels = {"paas.language": "Python", "paas.process.web": "serve"}
    settings = {"User": "1000:1000", "WorkingDir": "/app", "Labels": labels}
    pulled = Pulled("sha256:x", {"created": EPOCH, "config": settings}, place.pull(Memory(b"low")).layers)
    (place.spawner.blobs / hashlib.sha256(b"LOW").hexdigest()).write_bytes(bytes(1024))
    first, found = stored_image(cast(Any, place), place.app, pulled)
    pushed = {**settings, "Labels": {**labels, "org.opencontainers.image.version": "v7"}}
    config = {"created": "2026-01-01T00:00:00Z", "config": pushed}
    again, _ = stored_image(cast(Any, place), place.app, replace(pulled, config=config))
    assert again.digest == first.digest and again.startup is None
    assert found.language == "Python"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (Memory(b"x", architecture="mips"), "made for linux/mips"),
        (Memory(b"x", os="windows"), "made for windows/"),
        (Memory(b"x", rootfs={"diff_ids": []}), "other layers"),
        (Memory(b"x", rootfs=None), "other layers"),
        (Memory(*(b"%d" % number for number in range(MOST_LAYERS + 1))), "101 layers"),
    ],
)
def test_what_cannot_be_used_is_refused_before_a_layer_is_read(
    place: Place, source: Memory, said: str
) -> None:
    with pytest.raises(BuildFailed, match=said):
        place.pull(source)
    assert not set(source.asked) - {source.manifest.config.digest}


def test_the_bytes_of_an_image_are_bounded(place: Place) -> None:
    source = Memory(b"x")
    big = tuple(Blob(GZIP_LAYER, digest_of(name), MOST_BYTES // 2) for name in (b"a", b"b", b"c"))
    source.manifest = replace(source.manifest, layers=big)
    with pytest.raises(BuildFailed, match=r"at most 100 of 8\.\d GB|at most 100 of"):
        place.pull(source)
    assert source.asked == []


def test_a_layer_that_cannot_be_unpacked_says_why(place: Place) -> None:
    place.spawner.refuse = "bad_archive"
    with pytest.raises(BuildFailed, match="a sparse file"):
        place.pull(Memory(b"low"))


def test_an_image_without_files_is_refused(place: Place) -> None:
    with pytest.raises(BuildFailed, match="no files"):
        stored_image(cast(Any, place), place.app, place.pull(Memory(b"")))


def test_a_cancelled_pull_reads_no_layer(place: Place) -> None:
    source = Memory(b"low")
    with pytest.raises(Cancelled):
        place.pull(source, cancelled=True)
    assert source.asked == [source.manifest.config.digest]

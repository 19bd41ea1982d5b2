"""Images on their way out: archives are the same each time, layers are compressed once, and their notes end with them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from runtime.image.distribution import Blob
from runtime.image.errors import NotFound
from runtime.image.ocilayout import ImageStore
from runtime.image.portable import Portable, archive, portable, push
from runtime.image.registry import Registry


class Remembering(Registry):
    """A registry in memory, which counts what it is sent."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.elsewhere: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.uploads = 0

    def has(self, blob: Blob) -> bool:
        return blob.digest in self.blobs

    def mount(self, blob: Blob, repository: str) -> bool:
        if blob.digest in self.elsewhere:
            self.blobs[blob.digest] = self.elsewhere[blob.digest]
        return blob.digest in self.blobs

    def upload(self, blob: Blob, file: object) -> None:
        assert isinstance(file, io.IOBase)
        file.seek(0)
        data = file.read()
        assert (f"sha256:{hashlib.sha256(data).hexdigest()}", len(data)) == (blob.digest, blob.size)
        self.blobs[blob.digest] = data
        self.uploads += 1

    def write_manifest(self, name: str, data: bytes) -> str:
        self.manifests[name] = data
        return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    made = ImageStore(tmp_path / "images", tmp_path / "stacks")
    made.prepare()
    return made


def put(store: ImageStore, data: bytes) -> str:
    name = hashlib.sha256(data).hexdigest()
    (store.folder / "blobs/sha256" / name).write_bytes(data)
    return f"sha256:{name}"


def image(store: ImageStore, *layers: bytes, **labels: str) -> Portable:
    digest = store.write([put(store, layer) for layer in layers], labels={"kept": "1"})
    return portable(store, digest, labels, "2026-01-01T00:00:00Z")


def test_labels_are_added_and_nothing_else_changes(store: ImageStore) -> None:
    made = image(store, b"low", b"high", title="hello")
    config = json.loads(made.config)
    assert config["config"]["Labels"] == {"kept": "1", "title": "hello"}
    assert (config["created"], config["config"]["User"]) == ("2026-01-01T00:00:00Z", "1000:1000")
    assert config["rootfs"]["diff_ids"] == [layer.digest for layer in made.layers]


def test_an_archive_has_each_blob_once_and_outlives_its_layers(store: ImageStore) -> None:
    made = image(store, b"x" * 513, b"top")
    size, pieces = archive(made, "hello:v1")
    for layer in made.layers:
        (store.folder / "blobs/sha256" / layer.digest[7:]).unlink()
    data = b"".join(pieces)
    assert len(data) == size
    with tarfile.open(fileobj=io.BytesIO(data)) as read:
        names = read.getnames()
        assert (
            names[:3] == ["oci-layout", "index.json", "manifest.json"] and len(set(names)) == len(names) == 7
        )
        for name in names[3:]:
            file = read.extractfile(name)
            assert file is not None and hashlib.sha256(file.read()).hexdigest() == name.rpartition("/")[2]
    with pytest.raises(NotFound):
        archive(made, "hello:v1")


def test_what_the_registry_has_is_neither_sent_nor_compressed_again(store: ImageStore) -> None:
    registry, made = Remembering(), image(store, b"low" * 1000, b"high" * 1000)
    done = push(made, registry, "v1")
    assert (done.sent, done.there, registry.uploads) == (2, 0, 3)
    sent = [registry.blobs[layer["digest"]] for layer in json.loads(registry.manifests["v1"])["layers"]]
    assert [gzip.decompress(data) for data in sent] == [b"low" * 1000, b"high" * 1000]
    for layer in made.layers:
        (store.folder / "blobs/sha256" / layer.digest[7:]).write_bytes(b"not read again")
    again = push(made, registry, "v2")
    assert (again.sent, again.there, registry.uploads, again.digest) == (0, 2, 3, done.digest)


def test_the_same_layers_are_the_same_blobs_for_everybody(store: ImageStore, tmp_path: Path) -> None:
    other = ImageStore(tmp_path / "other", tmp_path / "stacks")
    other.prepare()
    one, two = Remembering(), Remembering()
    assert push(image(store, b"a" * 99), one, "v1") == push(image(other, b"a" * 99), two, "v1")
    assert one.blobs == two.blobs


def test_layers_of_another_repository_are_taken_over(store: ImageStore) -> None:
    first, second, made = Remembering(), Remembering(), image(store, b"shared" * 100)
    push(made, first, "v1")
    second.elsewhere = first.blobs
    done = push(made, second, "v1", mount_from="team/first")
    assert (done.sent, done.mounted, second.uploads) == (0, 1, 1)


def test_notes_of_layers_that_are_gone_go_too(store: ImageStore) -> None:
    gone = image(store, b"gone")
    push(gone, Remembering(), "v1")
    (store.folder / "blobs/sha256" / gone.layers[0].digest[7:]).unlink()
    kept = image(store, b"kept")
    push(kept, Remembering(), "v1")
    name = kept.layers[0].digest[7:]
    assert {file.name for file in (store.folder / "gzip").iterdir()} == {name, f"{name}.blob"}


def test_a_damaged_note_costs_a_compression_only(store: ImageStore) -> None:
    registry, made = Remembering(), image(store, b"layer")
    push(made, registry, "v1")
    (store.folder / "gzip" / made.layers[0].digest[7:]).write_text("sha256:nonsense")
    assert push(made, registry, "v1").there == 1

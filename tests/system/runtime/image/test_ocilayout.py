"""The image layout: what other people's tools read, and what collection leaves."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.layers import PAAS, Home, give, layer_home, listing

from runtime.image import make
from runtime.image.errors import Damaged, NotFound
from runtime.image.ocilayout import ImageStore


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with layer_home(tmp_path) as made:
        yield made


def test_skopeo_and_umoci_read_the_image(home: Home, tmp_path: Path) -> None:
    long = b"app/" + b"d" * 90 + b"/" + "é".encode() * 60
    base = make.run_unpack(home.layout, home.source("a.tar", (b"app/x", b"1"), (long, b"2")), home.box)
    upper = home.upper()
    (upper / "app").mkdir()
    os.mknod(upper / "app/x", stat.S_IFCHR, 0)
    (upper / "app/new").write_text("3")
    give(upper)
    assert base is not None
    top = make.run_snapshot(home.layout, "i1", ["/app/x", "/app/new"], [base.digest], home.app)
    assert top is not None
    store = ImageStore(home.layout.images, home.layout.stacks)
    env = {"A": "b=c d", "PATH": "/usr/bin"}
    digest = store.write((base.digest, top.digest), env=env, processes={"web": "run me"})
    store.tag("hello:v7", digest)
    images = home.layout.images
    seen = json.loads(subprocess.check_output(["skopeo", "inspect", f"oci:{images}:hello:v7"]))
    assert seen["Digest"] == digest and seen["Layers"] == [base.digest, top.digest]
    assert seen["Env"] == ["A=b=c d", "PATH=/usr/bin"] and seen["Labels"] == {"paas.process.web": "run me"}
    copy = tmp_path / "copy"
    subprocess.run(["skopeo", "copy", "-q", f"oci:{images}:hello:v7", f"oci:{copy}:x"], check=True)
    out = tmp_path / "rootfs"
    subprocess.run(["umoci", "raw", "unpack", "--image", f"{images}:hello:v7", str(out)], check=True)
    assert listing(out) == ["app", "app/" + "d" * 90, long.decode(), "app/new"]
    assert (out / long.decode()).read_text() == "2"


def three_images(home: Home) -> tuple[ImageStore, list[str], list[str]]:
    store, layers, images = ImageStore(home.layout.images, home.layout.stacks), [], []
    for number in range(3):
        source = home.source(f"l{number}.tar", (b"app/f", b"%d" % number))
        made = make.run_unpack(home.layout, source, home.box)
        assert made is not None
        layers.append(made.digest)
        images.append(store.write((made.digest,), env={"N": str(number)}))
        store.tag(f"app:v{number}", images[-1])
    return store, layers, images


def test_collection_keeps_images_their_tags_and_named_blobs(home: Home) -> None:
    store, layers, images = three_images(home)
    assert store.collect(images[:1], blobs=layers[1:2], unused_since=time.time() + 1) > 0
    assert home.tags() == {"app:v0": images[0]} and store.read(images[0]).layers == (layers[0],)
    assert hashlib.sha256(home.blob(layers[1]).read_bytes()).hexdigest() == layers[1][7:]
    for digest in (images[1], images[2], layers[2]):
        assert not home.blob(digest).exists()
    with pytest.raises(NotFound):
        store.read(images[1])
    store.collect((), unused_since=time.time() + 1)
    assert home.tags() == {} and os.listdir(home.layout.images / "blobs" / "sha256") == []


def test_collection_spares_what_is_young_or_was_used_lately(home: Home) -> None:
    store, _, images = three_images(home)
    assert store.collect(()) == 0
    assert store.collect((), unused_since=0) == 0
    assert sorted(home.tags().values()) == sorted(images)
    for image in images:
        store.read(image)


def test_collection_leaves_a_blob_that_is_being_written_alone(home: Home) -> None:
    store, _, _ = three_images(home)
    fresh = home.layout.images / "blobs/sha256/.new-0a1b"
    for age, stays in ((60, True), (7200, False)):
        fresh.write_bytes(b"half")
        os.utime(fresh, (time.time() - age,) * 2)
        store.collect((), unused_since=time.time() + 1)
        assert fresh.exists() is stays


def test_damaged_or_missing_image_stops_no_collection(home: Home) -> None:
    store, layers, images = three_images(home)
    home.blob(images[0]).write_bytes(b"{}")
    home.blob(images[1]).unlink()
    store.collect(images, unused_since=time.time() + 1)
    with pytest.raises(Damaged):
        store.read(images[0])
    assert store.read(images[2]).layers == (layers[2],)


def test_files_of_the_layout_belong_to_its_owner(home: Home) -> None:
    made = make.run_unpack(home.layout, home.source("a.tar", (b"app/f", b"1")), home.box)
    assert made is not None
    store = ImageStore(home.layout.images, home.layout.stacks)
    store.tag("a:v1", store.write((made.digest,)))
    owners = {path.lstat().st_uid for path in home.layout.images.rglob("*") if path.is_file()}
    assert owners == {PAAS}

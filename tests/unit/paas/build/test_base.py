"""An image on a newer stack: the same layers above, and a refusal where they could need what is gone."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from harness.nouns import make_image

from paas.build.base import BUILT_AS, base_of, rebased_image
from paas.nouns.errors import BuildFailed
from paas.nouns.model import Image
from paas.nouns.settings import load
from paas.store import Store, apps, images
from runtime.image.ocilayout import ImageStore
from runtime.stack.build import Stack

LIBRARIES = "usr/lib/x86_64-linux-gnu"


def tar(*names: str) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name in names:
            entry = tarfile.TarInfo(f"./{name}")
            entry.size = 3
            archive.addfile(entry, io.BytesIO(b"abc"))
    return written.getvalue()


class Place:
    def __init__(self, folder: Path) -> None:
        flags = {"home": str(folder), "stacks": str(folder / "stacks")}
        self.settings = replace(load(flags, {}, None), id="0a0b0c")
        self.layout = self.settings.layout()
        self.layout.database.parent.mkdir()
        self.stack_blobs = folder / "stacks/blobs/sha256"
        self.stack_blobs.mkdir(parents=True)
        self.store = Store.open(self.layout.database)
        with self.store.write() as tx:
            self.app = apps.create(tx, "hello", None)

    def stack(self, *names: str) -> Stack:
        digest = self.blob(self.stack_blobs, tar(*names))
        return Stack("debian-12", (digest,), (digest,), "2026-11-28T01:02:03Z", 1, ())

    def blob(self, folder: Path, data: bytes) -> str:
        folder.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(data).hexdigest()
        (folder / digest).write_bytes(data)
        return f"sha256:{digest}"

    def image(self, stack: Stack, *names: str) -> Image:
        own = self.blob(self.layout.images / "blobs/sha256", tar(*names))
        layers = (*stack.run, own)
        digest = ImageStore(self.layout.images, self.layout.stacks).write(
            layers, env={"A": "1"}, processes={"web": "run"}, made_by={own: "Source"}
        )
        image = make_image(app_id=self.app.id, digest=digest, layers=layers, manifest={"warned": ["x"]})
        with self.store.write() as tx:
            images.add(tx, image)
        return image

    def rebased(self, image: Image, stack: Stack) -> Image:
        return rebased_image(cast(Any, self), image, stack)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.store.close()


OLD = (f"{LIBRARIES}/libz.so.1", f"{LIBRARIES}/libz.so.1.2.13", "usr/bin/python3.11", "etc/old")
NEW = (f"{LIBRARIES}/libz.so.1", f"{LIBRARIES}/libz.so.1.2.14", "usr/bin/python3.11", "usr/bin/more")


def test_the_layers_above_stay_and_so_does_what_the_image_says(place: Place) -> None:
    old, new = place.stack(*OLD), place.stack(*NEW)
    image = place.image(old, "app/web.py")
    made = place.rebased(image, new)
    assert made.layers == (*new.run, *image.layers[1:])
    store = ImageStore(place.layout.images, place.layout.stacks)
    before, after = store.read(image.digest).config, store.read(made.digest).config
    assert after == {**before, "rootfs": {"type": "layers", "diff_ids": list(made.layers)}}
    assert (base_of(image, place.layout.stacks), base_of(made, place.layout.stacks)) == (old.run, new.run)
    with place.store.read() as tx:
        assert images.get(tx, place.app.id, made.digest) == made


def test_what_a_build_made_stays_known_through_every_rebase(place: Place) -> None:
    stacks = [place.stack(*OLD), place.stack(*NEW), place.stack(*NEW, "etc/newest")]
    first = place.image(stacks[0], "app/web.py")
    second = place.rebased(first, stacks[1])
    third = place.rebased(second, stacks[2])
    assert second.manifest == third.manifest == {"warned": ["x"], BUILT_AS: first.digest}


@pytest.mark.parametrize(
    ("gone", "named"),
    [
        (f"{LIBRARIES}/libpq.so.5", "libpq.so.5"), (f"{LIBRARIES}/libpython3.11.so.1.0", "libpython3.11.so.1.0"),
        ("usr/bin/tool", "tool"), ("usr/sbin/nginx", "nginx"), ("lib/x86_64-linux-gnu/libc.so.6", "libc.so.6"),
    ],
)  # fmt: skip
def test_what_the_layers_above_may_need_must_still_be_there(place: Place, gone: str, named: str) -> None:
    image = place.image(place.stack(*OLD, gone), "app/web.py")
    with pytest.raises(BuildFailed, match=named) as refused:
        place.rebased(image, place.stack(*NEW))
    assert "paas ps:rebuild" in refused.value.hint


def test_of_many_that_are_gone_some_are_named(place: Place) -> None:
    image = place.image(place.stack(*(f"usr/bin/p{number}" for number in range(5))))
    with pytest.raises(BuildFailed, match=r"no p0, p1, p2 and 2 more\."):
        place.rebased(image, place.stack())


def test_an_app_with_debian_packages_of_its_own_is_built_again(place: Place) -> None:
    image = place.image(place.stack(*OLD), "usr/bin/ffmpeg", "var/lib/dpkg/status")
    with pytest.raises(BuildFailed, match="Debian packages of its own"):
        place.rebased(image, place.stack(*NEW))


def test_an_image_from_elsewhere_stands_on_no_stack(place: Place) -> None:
    stack = place.stack(*OLD)
    image = place.image(stack, "app/web.py")
    assert base_of(replace(image, layers=image.layers[1:]), place.layout.stacks) == ()
    assert json.loads(json.dumps(image.manifest)) == image.manifest

"""Compressed layers are made once, kept within a bound, and end with their layers."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.image.errors import TooLarge
from runtime.image.ocilayout import ImageStore
from runtime.image.packed import noted, packed, sweep

DATA = os.urandom(50_000) + bytes(3_000_000)


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    made = ImageStore(tmp_path / "images", tmp_path / "stacks")
    made.prepare()
    return made


def put(store: ImageStore, data: bytes) -> str:
    name = hashlib.sha256(data).hexdigest()
    (store.folder / "blobs/sha256" / name).write_bytes(data)
    return f"sha256:{name}"


def unpacked(kind: str, data: bytes) -> bytes:
    if kind == "gzip":
        return gzip.decompress(data)
    return subprocess.run(["zstd", "-q", "-d", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_layer_is_compressed_once(store: ImageStore, kind: str) -> None:
    digest = put(store, DATA)
    assert noted(store, digest, kind) is None
    made, file = packed(store, digest, kind)
    with file:
        file.seek(0)
        data = file.read()
    assert unpacked(kind, data) == DATA
    assert (made.digest, made.size) == (f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))
    assert made.media_type.endswith(f".tar+{kind}") and noted(store, digest, kind) == made
    (store.folder / "blobs/sha256" / digest[7:]).write_bytes(b"not read again")
    again, kept = packed(store, digest, kind)
    with kept:
        assert (again, kept.read()) == (made, data)


def test_a_kept_blob_that_was_cut_is_made_again(store: ImageStore) -> None:
    digest = put(store, DATA)
    made, file = packed(store, digest, "gzip")
    file.close()
    os.truncate(store.folder / "gzip" / f"{digest[7:]}.blob", 100)
    again, file = packed(store, digest, "gzip")
    with file:
        file.seek(0)
        assert again == made and gzip.decompress(file.read()) == DATA


def test_nobody_waiting_leaves_nothing(store: ImageStore) -> None:
    with pytest.raises(TooLarge):
        packed(store, put(store, DATA), "gzip", lambda: True)
    assert list((store.folder / "gzip").iterdir()) == []


def test_the_blobs_that_were_not_used_for_longest_go_and_notes_stay_as_long_as_their_layers(
    store: ImageStore,
) -> None:
    digests = [put(store, os.urandom(10_000)) for _ in range(3)]
    for age, digest in enumerate(reversed(digests)):
        packed(store, digest, "gzip")[1].close()
        moment = os.stat(store.folder).st_mtime - 100 * age
        os.utime(store.folder / "gzip" / f"{digest[7:]}.blob", (moment, moment))
    packed(store, digests[0], "gzip")[1].close()  # the oldest is used again
    assert sweep(store, most=25_000) > 9_000
    kept = {file.name[:64] for file in (store.folder / "gzip").glob("*.blob")}
    assert kept == {digests[0][7:], digests[2][7:]}
    assert all(noted(store, digest, "gzip") for digest in digests)
    (store.folder / "blobs/sha256" / digests[0][7:]).unlink()
    sweep(store)
    assert not any(file.name.startswith(digests[0][7:]) for file in (store.folder / "gzip").iterdir())


def test_a_process_makes_them_ahead(store: ImageStore, tmp_path: Path) -> None:
    digests = [put(store, os.urandom(10_000)), "sha256:" + "f" * 64, put(store, DATA)]
    words = (str(store.folder), str(tmp_path / "stacks"), "gzip", *digests)
    command = [sys.executable, "-P", "-m", "runtime.image.packed", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[4])
    assert [noted(store, digest, "gzip") is not None for digest in digests] == [True, False, True]
    assert "event=not-packed" in done.stderr


def test_a_blob_leaves_the_reserve_of_the_disk(store: ImageStore) -> None:
    with pytest.raises(TooLarge, match="no room"):
        packed(store, put(store, DATA), "gzip", reserve=1 << 60)
    assert list((store.folder / "gzip").iterdir()) == []

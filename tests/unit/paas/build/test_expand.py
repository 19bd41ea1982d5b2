"""An archive that is compressed is unpacked by a process of its own, up to a bound."""

from __future__ import annotations

import gzip
import os
import subprocess
from pathlib import Path

import pytest

from paas.build.expand import expanded
from runtime.image.errors import BadArchive

DATA = os.urandom(100_000) + bytes(3_000_000)


def zstd_of(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-q", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout


@pytest.mark.parametrize("stored", [DATA, gzip.compress(DATA), zstd_of(DATA)], ids=["plain", "gzip", "zstd"])
def test_what_comes_out_is_what_was_packed(tmp_path: Path, stored: bytes) -> None:
    (tmp_path / "archive").write_bytes(stored)
    with expanded((tmp_path / "archive").open("rb"), tmp_path, most=len(DATA), reserve=0) as file:
        file.seek(0)
        assert file.read() == DATA
    assert os.listdir(tmp_path) == ["archive"]


@pytest.mark.parametrize(
    ("stored", "most", "reserve", "said"),
    [
        (gzip.compress(bytes(50_000_000)), 4_000_000, 0, "more than an image may have"),
        (zstd_of(bytes(50_000_000)), 4_000_000, 0, "more than an image may have"),
        (gzip.compress(DATA), len(DATA), 1 << 60, "than the disk has room for"),
        (gzip.compress(DATA)[:-20], len(DATA), 0, "no whole gzip stream"),
        (zstd_of(DATA)[:-20], len(DATA), 0, "zstd stream that ends too early"),
    ],
)
def test_what_unpacks_to_too_much_or_is_broken_is_refused(
    tmp_path: Path, stored: bytes, most: int, reserve: int, said: str
) -> None:
    (tmp_path / "archive").write_bytes(stored)
    with pytest.raises(BadArchive, match=said):
        expanded((tmp_path / "archive").open("rb"), tmp_path, most=most, reserve=reserve)
    assert os.listdir(tmp_path) == ["archive"]

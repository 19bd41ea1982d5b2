"""Small files of an image are those of its topmost layer; a process of its own reads them."""

from __future__ import annotations

import io
import tarfile
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import pytest

from paas.build.layerfiles import KnownLayers, files_of, read_files
from runtime.image.errors import ImageError


def layer(**files: str | None) -> bytes:
    """A tar of these files, `__` for a slash; None is a link."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for path, text in files.items():
            entry = tarfile.TarInfo(path.replace("__", "/"))
            if text is None:
                entry.type, entry.linkname = tarfile.SYMTYPE, "/elsewhere"
            else:
                entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO((text or "").encode()))
    return written.getvalue()


def found(*layers: bytes) -> dict[str, str]:
    opened = [io.BufferedReader(io.BytesIO(data)) for data in layers]  # type: ignore[arg-type]
    return files_of(opened, ["etc/passwd", "etc/group"])


LOW = layer(usr__big="x" * 70_000, etc__passwd="low", etc__group="groups", etc__other="x")


def test_the_upper_file_counts() -> None:
    assert found(LOW) == {"etc/passwd": "low", "etc/group": "groups"}
    assert found(LOW, layer(etc__passwd="high")) == {"etc/passwd": "high", "etc/group": "groups"}


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("etc/.wh.passwd", {"etc/group"}), (".wh.etc", set()), ("etc/.wh..wh..opq", set()), (".wh..wh..opq", set()),
        ("etc/.wh.pass", {"etc/passwd", "etc/group"}), ("usr/.wh.passwd", {"etc/passwd", "etc/group"}),
    ],
)  # fmt: skip
def test_what_a_layer_hides_is_gone(name: str, left: set[str]) -> None:
    assert found(LOW, layer(**{name: ""})).keys() == left


def test_a_link_hides_the_file_and_leads_nowhere() -> None:
    assert found(LOW, layer(etc__passwd=None)) == {"etc/group": "groups"}


def test_a_file_of_more_than_a_mebibyte_is_not_there() -> None:
    assert found(layer(etc__passwd="x" * ((1 << 20) + 1), etc__group="g")) == {"etc/group": "g"}


def read(*layers: bytes) -> dict[str, str]:
    with ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile()) for _ in layers]
        for file, data in zip(files, layers, strict=True):
            file.write(data)
            file.seek(0)
        return read_files([file.fileno() for file in files], ["etc/passwd", "etc/group"])


def test_a_process_of_its_own_gives_the_same() -> None:
    assert read(LOW, layer(etc__passwd="höher")) == {"etc/passwd": "höher", "etc/group": "groups"}


def test_what_is_no_layer_is_refused_with_a_sentence() -> None:
    with pytest.raises(ImageError, match="not a ustar"):
        read(b"\x01" * 2048)


def test_a_layer_that_is_known_is_not_read_again(tmp_path: Path) -> None:
    high = layer(**{"etc/.wh.group": "", "etc/passwd": "high"})
    for name, data in (("low", LOW), ("high", high), ("big", layer(etc__passwd="x" * 20_000))):
        (tmp_path / name).write_bytes(data)
    opened: list[str] = []

    def open_layer(name: str) -> BinaryIO:
        opened.append(name)
        return (tmp_path / name).open("rb")

    known = KnownLayers(["etc/passwd", "etc/group"], most=2)
    assert known.read(["low"], open_layer) == {"etc/passwd": "low", "etc/group": "groups"}
    for _ in range(2):
        assert known.read(["low", "high"], open_layer) == {"etc/passwd": "high"}
        assert known.read(["high", "low"], open_layer) == {"etc/passwd": "low", "etc/group": "groups"}
    assert opened == ["low", "high"]
    assert (
        known.read(["low", "big"], open_layer)["etc/passwd"] == known.read(["big"], open_layer)["etc/passwd"]
    )
    assert opened == ["low", "high", "big", "big"]

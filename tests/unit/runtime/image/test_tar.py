"""The tar stream: same entries, same bytes; readable by others; strange names survive."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.image.errors import BadArchive
from runtime.image.tarreader import TarReader
from runtime.image.tarwriter import LAYER_MTIME, MAX_SIZE, TarWriter, headers

LONG = b"d" * 90 + b"/" + b"e" * 90 + b"/" + b"f" * 90
NAMES = [
    b"app/plain", b"app/" + b"n" * 96, b"app/" + b"n" * 97, LONG, b"a" * 255, b"app/\xff\xfe", b"app/new\nline",
    b"app/sp ace", b"app/" + b"\xc3\xa9" * 120, b"\xff" * 200,
]  # fmt: skip


def written(names: list[bytes]) -> bytes:
    stream = io.BytesIO()
    tar = TarWriter(stream.write)
    tar.directory(b"app")
    for name in names:
        tar.file(name, 0o644, 5, [b"he", b"llo"])
    tar.symlink(b"app/link", b"../" * 60 + b"etc/passwd")
    tar.hard_link(b"app/second", b"app/plain")
    tar.finish()
    return stream.getvalue()


def test_same_entries_give_same_bytes() -> None:
    assert written(NAMES) == written(list(NAMES))


def test_bytes_of_an_archive_without_owners_are_what_they_always_were() -> None:
    """Layers are known by the digests of such archives."""
    digest = "dc7b8b89a598fcea3bd949fbd3692a7bc10212add3fac36eb33129a8981940bb"
    assert hashlib.sha256(written(NAMES)).hexdigest() == digest


def test_each_entry_may_have_an_owner_of_its_own() -> None:
    stream = io.BytesIO()
    tar = TarWriter(stream.write)
    tar.directory(b"d", 0o1777, (0, 0))
    tar.file(b"d/f", 0o600, 0, (), (33, 65535))
    tar.symlink(b"d/l", b"f", (7, 8))
    tar.hard_link(b"d/h", b"d/f", 0o600, (33, 65535))
    tar.file(b"d/mine", 0o600, 0, ())
    tar.finish()
    owners = [(0, 0), (33, 65535), (7, 8), (33, 65535), (1000, 1000)]
    with tarfile.open(fileobj=io.BytesIO(stream.getvalue())) as archive:
        assert [(m.uid, m.gid) for m in archive.getmembers()] == owners
    assert [entry.owner for entry in TarReader(io.BytesIO(stream.getvalue()).read)] == owners


@pytest.mark.parametrize(
    ("form", "owner", "read"),
    [
        (tarfile.PAX_FORMAT, (3_000_000, 5), (3_000_000, 5)),
        (tarfile.GNU_FORMAT, (3_000_000, 5), None),
        (tarfile.USTAR_FORMAT, (0o7777777, 0), (0o7777777, 0)),
    ],
)
def test_owners_that_others_write(form: int, owner: tuple[int, int], read: tuple[int, int] | None) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        info = tarfile.TarInfo("f")
        info.uid, info.gid = owner
        archive.addfile(info)
    assert [entry.owner for entry in TarReader(io.BytesIO(stream.getvalue()).read)] == [read]


def test_own_reader_gets_back_every_name_and_content() -> None:
    stream = io.BytesIO(written(NAMES))
    reader = TarReader(stream.read)
    seen = [(e.path, e.kind, b"".join(reader.content()), e.target) for e in reader]
    assert [s[0] for s in seen] == [b"app/", *NAMES, b"app/link", b"app/second"]
    assert {s[2] for s in seen[1:-2]} == {b"hello"}
    assert seen[-2][3] == b"../" * 60 + b"etc/passwd" and seen[-1][1] == "hard_link"


def test_python_reads_it_with_fixed_owner_and_time() -> None:
    with tarfile.open(fileobj=io.BytesIO(written(NAMES))) as tar:
        members = tar.getmembers()
    assert {(m.uid, m.gid, int(m.mtime), m.uname) for m in members} == {(1000, 1000, LAYER_MTIME, "")}
    names = [m.name.encode("utf-8", "surrogateescape") for m in members]
    assert names == [b"app", *NAMES, b"app/link", b"app/second"]


def test_gnu_tar_lists_and_extracts_the_same_names(tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(written(NAMES))
    subprocess.run(["tar", "-xf", "t.tar", "--no-same-owner"], cwd=tmp_path, check=True)
    for name in NAMES:
        assert (tmp_path / name.decode("utf-8", "surrogateescape")).read_bytes() == b"hello"


def test_offset_points_at_the_content() -> None:
    stream = io.BytesIO()
    tar = TarWriter(stream.write)
    offsets = {name: tar.file(name, 0o644, 3, [name[-3:]]) for name in (b"abc", LONG, b"app/xyz")}
    for name, offset in offsets.items():
        assert stream.getvalue()[offset : offset + 3] == name[-3:]
    assert tar.offset == len(stream.getvalue())


def test_wrong_announcement_of_size_is_an_error() -> None:
    tar = TarWriter(lambda data: None)
    with pytest.raises(ValueError, match="announced"):
        tar.file(b"a", 0o644, 4, [b"abc"])


@pytest.mark.parametrize(
    ("path", "size", "link"), [(b"", 0, b""), (b"a\0b", 0, b""), (b"a", MAX_SIZE + 1, b""), (b"a", 0, b"x\0")]
)
def test_what_no_archive_can_say_is_refused(path: bytes, size: int, link: bytes) -> None:
    with pytest.raises(ValueError):
        headers(path, b"0", 0o644, size=size, link=link, owner=(0, 0), mtime=0)


def test_owner_and_time_are_arguments() -> None:
    stream = io.BytesIO()
    tar = TarWriter(stream.write, owner=0, mtime=1)
    tar.directory(b"x")
    tar.finish()
    with tarfile.open(fileobj=io.BytesIO(stream.getvalue())) as archive:
        (member,) = archive.getmembers()
    assert (member.uid, member.mtime) == (0, 1)


component = st.binary(min_size=1, max_size=255).filter(lambda b: b"/" not in b and b"\0" not in b)


@given(st.lists(component, min_size=1, max_size=12), st.binary(max_size=2000))
def test_any_name_and_content_round_trips(parts: list[bytes], content: bytes) -> None:
    stream = io.BytesIO()
    tar = TarWriter(stream.write)
    tar.file(b"/".join(parts), 0o600, len(content), [content])
    tar.finish()
    reader = TarReader(io.BytesIO(stream.getvalue()).read)
    (entry,) = [(e, b"".join(reader.content())) for e in reader]
    assert entry[0].path == b"/".join(parts) and entry[1] == content


@given(st.binary(max_size=3000))
def test_noise_is_refused_and_nothing_else(noise: bytes) -> None:
    with pytest.raises(BadArchive):
        for _ in TarReader(io.BytesIO(noise).read):
            pass


@given(st.data())
def test_a_damaged_archive_is_read_or_refused_never_worse(data: st.DataObject) -> None:
    good = bytearray(written(NAMES[:4]))
    for _ in range(data.draw(st.integers(1, 6))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    reader = TarReader(io.BytesIO(bytes(good)).read)
    try:
        for _ in reader:
            for _ in reader.content():
                pass
    except BadArchive as error:
        assert str(error)

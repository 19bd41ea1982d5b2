"""Hostile archives: each is refused with a sentence, or harmless; nothing outside the tree ever changes."""

from __future__ import annotations

import gzip
import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.image import zstd
from runtime.image.errors import BadArchive, ImageError, TooLarge
from runtime.image.layerwriter import LayerWriter, Limits
from runtime.image.removal import remove_tree
from runtime.image.tarreader import TarReader
from runtime.image.tarwriter import LAYER_MTIME, REGULAR, TarWriter, headers
from runtime.image.unpack import plain, unpack
from runtime.kernel.files import FOLDER


class Place:
    """A tree to unpack into, below a folder with a canary beside it."""

    def __init__(self, folder: Path) -> None:
        self.tree = folder / "tree"
        self.tree.mkdir()
        self.canary = folder / "canary"
        self.canary.mkdir()
        (self.canary / "secret").write_text("untouched")
        self.output = io.BytesIO()
        self.fd = os.open(self.tree, FOLDER)

    def unpack(self, data: bytes, *, whiteouts: bool = False, limits: Limits | None = None) -> LayerWriter:
        writer = LayerWriter(self.fd, self.output.write, limits)
        unpack(io.BytesIO(data).read, writer, whiteouts=whiteouts)
        return writer

    def check(self) -> None:
        assert sorted(os.listdir(self.tree.parent)) == ["canary", "tree"]
        assert os.listdir(self.canary) == ["secret"]
        assert (self.canary / "secret").read_text() == "untouched"
        assert stat.S_IMODE((self.canary / "secret").stat().st_mode) == 0o644


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    before = os.umask(0o022)
    found = Place(tmp_path)
    os.umask(0)
    yield found
    os.umask(before)
    found.check()
    os.close(found.fd)


def archive(*members: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes], pax: bool = False) -> bytes:
    stream = io.BytesIO()
    form = tarfile.PAX_FORMAT if pax else tarfile.GNU_FORMAT
    with tarfile.open(fileobj=stream, mode="w", format=form) as tar:
        for member in members:
            info, content = member if isinstance(member, tuple) else (member, b"")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def entry(
    name: str, kind: bytes = tarfile.REGTYPE, target: str = "", mode: int = 0o644, **extra: object
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, mode
    for key, value in extra.items():
        setattr(info, key, value)
    return info


def raw(path: bytes = b"f", kind: bytes = REGULAR, size: int = 0, link: bytes = b"") -> bytearray:
    return bytearray(b"".join(headers(path, kind, 0o644, size=size, link=link, owner=(0, 0), mtime=0)))


def resum(block: bytearray) -> bytes:
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def field(offset: int, value: bytes) -> bytes:
    """A header with one field overwritten, its checksum right."""
    block = raw()
    block[offset : offset + len(value)] = value
    return resum(block) + bytes(1024)


END = bytes(1024)
SYM, LNK, DIR = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE
HOSTILE: dict[str, Callable[[], bytes]] = {
    "parent": lambda: archive(entry("../x")),
    "parent within": lambda: archive(entry("a/../../x")),
    "absolute": lambda: archive(entry("/x")),
    "dot": lambda: archive(entry("a/./b")),
    "double slash": lambda: archive(entry("a//b")),
    "empty name": lambda: bytes(raw(b"f")[:0]) + resum(bytearray(bytes(100) + bytes(raw())[100:])) + END,
    "write through a link": lambda: archive(entry("a", SYM, "../canary"), (entry("a/secret"), b"x")),
    "write through a deep link": lambda: archive(
        entry("d", DIR, mode=0o755), entry("d/a", SYM, "../../canary"), (entry("d/a/new"), b"x")
    ),
    "folder over a link": lambda: archive(entry("a", SYM, "../canary"), entry("a", DIR)),
    "file over a link": lambda: archive(entry("a", SYM, "../canary/secret"), (entry("a"), b"x")),
    "link to slash dot": lambda: archive(entry("a", SYM, "/."), entry("a/etc", DIR)),
    "below a file": lambda: archive((entry("a"), b"x"), entry("a/b")),
    "hard link to a link": lambda: archive(entry("a", SYM, "../canary/secret"), entry("b", LNK, "a")),
    "hard link to the host": lambda: archive(entry("b", LNK, "/etc/passwd")),
    "hard link upwards": lambda: archive(entry("b", LNK, "../canary/secret")),
    "hard link through a link": lambda: archive(entry("a", SYM, "../canary"), entry("b", LNK, "a/secret")),
    "hard link deeper to shallower": lambda: archive(entry("x/y/z", LNK, "../../../canary/secret")),
    "hard link to nothing": lambda: archive(entry("b", LNK, "later"), (entry("later"), b"x")),
    "hard link to a folder": lambda: archive(entry("d", DIR, mode=0o755), entry("b", LNK, "d")),
    "name twice": lambda: archive((entry("a"), b"1"), (entry("a"), b"2")),
    "folder twice": lambda: archive(entry("a", DIR), entry("a", DIR)),
    "name too long": lambda: archive(entry("n" * 256)),
    "path too long": lambda: archive(entry("/".join(["d" * 200] * 25))),
    "link too long": lambda: archive(entry("l", SYM, "t" * 5000)),
    "character device": lambda: archive(entry("null", tarfile.CHRTYPE, devmajor=1, devminor=3)),
    "block device": lambda: archive(entry("disk", tarfile.BLKTYPE, devmajor=8, devminor=0)),
    "FIFO": lambda: archive(entry("f", tarfile.FIFOTYPE)),
    "sparse": lambda: archive(entry("s", tarfile.GNUTYPE_SPARSE)),
    "pax sparse": lambda: archive(entry("s", pax_headers={"GNU.sparse.size": "1099511627776"}), pax=True),
    "unknown type": lambda: archive(entry("s", b"Z")),
    "unknown pax record": lambda: archive(entry("s", pax_headers={"evil": "1"}), pax=True),
    "pax path leads out": lambda: archive(entry("s", pax_headers={"path": "../x"}), pax=True),
    "pax size not a number": lambda: archive(entry("s", pax_headers={"size": "-1"}), pax=True),
    "pax size beyond the end": lambda: archive((entry("s", pax_headers={"size": "999999"}), b"x"), pax=True),
    "negative size": lambda: field(124, b"-0000000001\0"),
    "base-256 size": lambda: field(124, b"\x80" + bytes(10) + b"\x05"),
    "negative base-256 size": lambda: field(124, b"\xff" * 12),
    "underscore in a number": lambda: field(124, b"0000000_001\0"),
    "no number": lambda: field(124, b"\0" * 12),
    "mode not octal": lambda: field(100, b"0000999\0"),
    "bad magic": lambda: field(257, b"nothing\0"),
    "bad checksum": lambda: bytes(raw()[:148]) + b"0000001\0" + bytes(raw()[156:]) + END,
    "no end mark": lambda: bytes(raw()),
    "empty": lambda: b"",
    "cut in a header": lambda: bytes(raw()[:300]),
    "cut in a file": lambda: bytes(raw(size=1000)) + b"x" * 100,
    "huge size": lambda: bytes(raw(size=8**11 - 1)) + END,
    "folder with content": lambda: bytes(raw(b"d/", b"5", size=512)) + bytes(512) + END,
    "link without target": lambda: bytes(raw(b"l", b"2")) + END,
    "file with a slash": lambda: bytes(raw(b"f/")) + END,
    "huge extension": lambda: bytes(raw(b"x", b"x", size=1 << 20)) + END,
    "huge long name": lambda: bytes(raw(b"x", b"L", size=1 << 30)) + END,
    "bad pax record": lambda: bytes(raw(b"x", b"x", size=9)) + b"99 path=a\n"[:9].ljust(512, b"\0") + END,
    "end after an extension": lambda: bytes(raw(b"x", b"x", size=10)) + b"10 path=a\n".ljust(512, b"\0") + END,
    "global path": lambda: bytes(raw(b"x", b"g", size=10)) + b"10 path=a\n".ljust(512, b"\0") + bytes(raw()) + END,
    "whiteout": lambda: archive(entry(".wh.secret")),
    "gzip": lambda: b"\x1f\x8b" + bytes(2000),
    "root is a file": lambda: archive(entry("./")) ,
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archive_is_refused(place: Place, case: str) -> None:
    with pytest.raises(ImageError) as caught:
        place.unpack(HOSTILE[case]())
    assert "\n" not in str(caught.value) and 10 < len(str(caught.value)) < 300


WHITEOUTS: dict[str, Callable[[], bytes]] = {
    "alone": lambda: archive(entry(".wh.")),
    "of dot": lambda: archive(entry(".wh..")),
    "of parent": lambda: archive(entry(".wh...")),
    "aufs": lambda: archive(entry(".wh..wh.plnk")),
    "with content": lambda: archive((entry(".wh.x"), b"content")),
    "as a link": lambda: archive(entry(".wh.x", SYM, "/etc")),
    "as a folder": lambda: archive(entry(".wh.x", DIR)),
    "below a whiteout": lambda: archive(entry(".wh.x/y")),
    "through a link": lambda: archive(entry("a", SYM, "../canary"), entry("a/.wh.secret")),
    "opaque through a link": lambda: archive(entry("a", SYM, "../canary"), entry("a/.wh..wh..opq")),
    "of what is there": lambda: archive((entry("x"), b"1"), entry(".wh.x")),
}


@pytest.mark.parametrize("case", WHITEOUTS)
def test_hostile_whiteout_is_refused(place: Place, case: str) -> None:
    with pytest.raises(BadArchive):
        place.unpack(WHITEOUTS[case](), whiteouts=True)


def test_plain_tree_is_made_with_fixed_modes_and_times(place: Place) -> None:
    writer = place.unpack(
        archive(
            entry("./", DIR), entry("./app", DIR, mode=0o2775), (entry("app/run", mode=0o6755), b"#!"),
            entry("app/l", SYM, "/etc/passwd"), (entry("deep/er/file"), b"x"), entry("app/h", LNK, "app/run"),
        )
    )  # fmt: skip
    run = (place.tree / "app/run").lstat()
    assert stat.S_IMODE(run.st_mode) == 0o755 and run.st_nlink == 2
    assert stat.S_IMODE((place.tree / "app").stat().st_mode) == 0o775
    assert os.readlink(place.tree / "app/l") == "/etc/passwd"
    for path in ("app", "app/run", "app/l", "deep", "deep/er"):
        assert (place.tree / path).lstat().st_mtime == LAYER_MTIME
    assert (writer.files, writer.size_bytes) == (7, 3)


def test_output_is_canonical_whatever_the_input_says(place: Place, tmp_path: Path) -> None:
    one = archive(entry("a", DIR, mode=0o755, uid=5, uname="x", mtime=9), (entry("a/b", gid=7), b"x"))
    two = archive(entry("a/", DIR, mode=0o755), (entry("a/b"), b"x"), pax=True)
    place.unpack(one)
    other = tmp_path / "tree" / "second"
    other.mkdir()
    again = io.BytesIO()
    fd = os.open(other, FOLDER)
    unpack(io.BytesIO(two).read, LayerWriter(fd, again.write))
    os.close(fd)
    assert again.getvalue() == place.output.getvalue()


def test_own_tar_is_reproduced_byte_for_byte(place: Place) -> None:
    stream = io.BytesIO()
    tar = TarWriter(stream.write)
    tar.directory(b"app")
    tar.file(b"app/\xff" + b"x" * 150, 0o755, 3, [b"abc"])
    tar.symlink(b"app/z", b"t" * 300)
    tar.finish()
    place.unpack(stream.getvalue())
    assert place.output.getvalue() == stream.getvalue()


def test_git_archive_comment_is_ignored(place: Place) -> None:
    header = bytes(raw(b"x", b"g", size=17)) + b"17 comment=abcde\n".ljust(512, b"\0")
    assert place.unpack(header + bytes(raw(b"f")) + END).files == 1


def test_whiteouts_become_devices_and_marks(place: Place) -> None:
    writer = place.unpack(
        archive(entry("d", DIR, mode=0o755), entry("d/.wh..wh..opq"), entry("d/.wh.gone")), whiteouts=True
    )
    gone = (place.tree / "d/gone").lstat()
    assert stat.S_ISCHR(gone.st_mode) and gone.st_rdev == 0
    assert writer.opaque == [b"d"]
    with tarfile.open(fileobj=io.BytesIO(place.output.getvalue())) as tar:
        assert tar.getnames() == ["d", "d/.wh..wh..opq", "d/.wh.gone"]


def test_too_many_files_are_refused_in_time(place: Place) -> None:
    stream = io.BytesIO()
    tar = TarWriter(stream.write)
    for number in range(200):
        tar.symlink(b"l%d" % number, b"x")
    tar.finish()
    with pytest.raises(TooLarge, match="100 files"):
        place.unpack(stream.getvalue(), limits=Limits(files=100))
    assert len(os.listdir(place.tree)) == 100


def test_too_many_bytes_are_refused_before_they_are_read(place: Place) -> None:
    with pytest.raises(TooLarge, match="1 MiB"):
        place.unpack(bytes(raw(size=1 << 30)), limits=Limits(size_bytes=1 << 20))
    assert os.listdir(place.tree) == []


def test_thousand_missing_parents_are_made(place: Place) -> None:
    path = b"/".join([b"d"] * 1500)
    stream = io.BytesIO()
    tar = TarWriter(stream.write)
    tar.file(path, 0o644, 1, [b"x"])
    tar.finish()
    assert place.unpack(stream.getvalue()).files == 1500
    remove_tree(place.fd, "d")  # pytest's own clean-up cannot go that deep


def test_a_layer_from_elsewhere_may_hold_devices_and_lack_its_end(place: Place) -> None:
    device, fifo, hard = tarfile.TarInfo("dev/null"), tarfile.TarInfo("fifo"), tarfile.TarInfo("/b")
    device.type, fifo.type, hard.type, hard.linkname = tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.LNKTYPE, "a"
    marks = (
        tarfile.TarInfo(".wh..wh.plnk/1.2"),
        tarfile.TarInfo("x/.wh..wh.aufs"),
        tarfile.TarInfo("x/.wh.gone"),
    )
    data = archive(device, fifo, (tarfile.TarInfo("/a"), b"text"), hard, *marks)
    with pytest.raises(BadArchive, match="a character device"):
        place.unpack(data, whiteouts=True)
    end = data.index(b"text") + 4
    unpack(
        io.BytesIO(data[: data.rindex(b"x/.wh.gone") + 512]).read,
        LayerWriter(place.fd, place.output.write),
        whiteouts=True,
        image=True,
    )
    assert sorted(os.listdir(place.tree)) == ["a", "b", "x"]
    assert os.listdir(place.tree / "x") == ["gone"]
    assert (place.tree / "a").read_bytes() == b"text"
    with pytest.raises(BadArchive, match="ends within a file"):
        list(TarReader(io.BytesIO(data[: end - 1]).read, foreign=True))


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/../x"])
def test_a_layer_from_elsewhere_stays_inside(place: Place, name: str) -> None:
    with pytest.raises(BadArchive, match=r"'\.\.' in a path"):
        unpack(
            io.BytesIO(archive((tarfile.TarInfo(name), b"x"))).read,
            LayerWriter(place.fd, place.output.write),
            image=True,
        )


def buffered(data: bytes) -> io.BufferedReader:
    return io.BufferedReader(io.BytesIO(data))  # type: ignore[arg-type]


def test_a_layer_is_read_whether_it_is_compressed_or_not() -> None:
    data = os.urandom(70_000)
    for stored in (data, gzip.compress(data), gzip.compress(data[:100]) + gzip.compress(data[100:])):
        read = plain(buffered(stored))  # type: ignore[arg-type]
        assert b"".join(iter(lambda read=read: read(1 << 16), b"")) == data  # type: ignore[misc]


@pytest.mark.parametrize("cut", [12, 40_000])
def test_a_compressed_layer_that_is_cut_or_changed_is_refused(cut: int) -> None:
    whole = gzip.compress(os.urandom(70_000))
    for stored in (whole[:cut], whole[:cut] + b"\xff" * 9 + whole[cut + 9 :]):
        read = plain(buffered(stored))  # type: ignore[arg-type]
        with pytest.raises(BadArchive, match="no whole gzip stream"):
            while read(1 << 16):
                pass


def zstd_of(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-q", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout


def test_a_layer_may_be_compressed_with_zstd_in_several_frames() -> None:
    data = os.urandom(70_000) + bytes(900_000)
    for stored in (zstd_of(data), zstd_of(data[:100]) + zstd_of(data[100:])):
        read = plain(buffered(stored))  # type: ignore[arg-type]
        assert b"".join(iter(lambda read=read: read(1 << 16), b"")) == data  # type: ignore[misc]


@pytest.mark.parametrize("cut", [5, 40_000, 69_999])
def test_zstd_that_is_cut_or_changed_is_refused(cut: int) -> None:
    whole = zstd_of(os.urandom(70_000))
    for stored in (whole[:cut], whole[:cut] + b"\xff" * 9 + whole[cut + 9 :]):
        read = plain(buffered(stored))  # type: ignore[arg-type]
        with pytest.raises(BadArchive, match="zstd stream"):
            while read(1 << 16):
                pass


def test_zstd_that_wants_much_memory_is_refused() -> None:
    """A frame of one GiB's window (RFC 8878, section 3.1.1.1.2), whose reader would have to hold so much."""
    read = plain(buffered(b"\x28\xb5\x2f\xfd\x00\xa0" + bytes(600)))  # type: ignore[arg-type]
    with pytest.raises(BadArchive, match="too much memory"):
        read(1 << 16)


def test_what_is_written_with_zstd_others_read(place: Place) -> None:
    data, packer = os.urandom(300_000) + bytes(3_000_000), zstd.Writer(3)
    packed = packer.compress(data[:1_000_000]) + packer.compress(data[1_000_000:]) + packer.flush()
    command = ["zstd", "-q", "-d", "-c"]
    assert subprocess.run(command, input=packed, stdout=subprocess.PIPE, check=True).stdout == data

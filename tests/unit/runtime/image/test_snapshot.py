"""What of a written folder becomes a layer, by name: trees that a container may leave behind, walked for real."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from runtime.image.errors import BadTree
from runtime.image.layerwriter import LayerWriter
from runtime.image.removal import remove_tree
from runtime.image.snapshot import find_opaque, snapshot

OPAQUE = "trusted.overlay.opaque"


@dataclass
class Trees:
    """An upper folder, an empty tree to copy it into, and folders that stand for lower layers."""

    folder: Path
    opened: list[int]

    @property
    def upper(self) -> Path:
        return self.folder / "upper"

    def open(self, name: str) -> int:
        (self.folder / name).mkdir(exist_ok=True)
        self.opened.append(os.open(self.folder / name, os.O_RDONLY | os.O_DIRECTORY))
        return self.opened[-1]

    def copy(self, *paths: bytes, opaque: tuple[bytes, ...] = ()) -> dict[str, tarfile.TarInfo]:
        """Take a snapshot; the members of its tar by name."""
        stream = io.BytesIO()
        snapshot(self.open("upper"), paths, LayerWriter(self.open("tree"), stream.write), opaque=opaque)
        stream.seek(0)
        with tarfile.open(fileobj=stream) as tar:
            return {member.name: member for member in tar.getmembers()}


@pytest.fixture
def trees(tmp_path: Path) -> Iterator[Trees]:
    (tmp_path / "upper").mkdir()
    made = Trees(tmp_path, [])
    yield made
    for fd in made.opened:
        os.close(fd)
    folder = os.open(tmp_path, os.O_RDONLY)
    for name in os.listdir(folder):  # which pytest could not remove, deep as one is
        remove_tree(folder, name)
    os.close(folder)


def test_only_the_paths_asked_for_are_copied_and_each_once(trees: Trees) -> None:
    for name in ("app/sub", "apple", "etc"):
        (trees.upper / name).mkdir(parents=True)
    (trees.upper / "app/sub/file").touch()
    found = trees.copy(b"app", b"app/sub", b"app/sub/file", b"missing", b"missing/too", b"app")
    assert list(found) == ["app", "app/sub", "app/sub/file"]


def test_names_come_in_the_order_of_their_bytes(trees: Trees) -> None:
    (trees.upper / "app").mkdir()
    names = [b"b", b"a\xff", b"B", b"a", "ä".encode(), b"a b"]
    for name in names:
        (trees.upper / "app" / os.fsdecode(name)).touch()
    assert list(trees.copy(b"app"))[1:] == [os.fsdecode(b"app/" + name) for name in sorted(names)]


def test_files_keep_mode_and_content_but_not_owner_and_set_id_bits(trees: Trees) -> None:
    path = trees.upper / "run"
    path.write_bytes(b"x" * 3000)
    os.chown(path, 5, 6)
    path.chmod(0o6751)
    member = trees.copy(b"run")["run"]
    assert (member.mode, member.size, member.uid, member.gid) == (0o751, 3000, 1000, 1000)
    copied = trees.folder / "tree/run"
    assert copied.read_bytes() == b"x" * 3000 and stat.S_IMODE(copied.stat().st_mode) == 0o751


def test_two_names_of_one_file_stay_two_names_of_one_file(trees: Trees) -> None:
    (trees.upper / "a").write_text("x")
    (trees.upper / "b").hardlink_to(trees.upper / "a")
    found = trees.copy(b"a", b"b")
    assert found["a"].isreg() and (found["b"].islnk(), found["b"].linkname) == (True, "a")
    assert os.path.samefile(trees.folder / "tree/a", trees.folder / "tree/b")


def test_links_are_copied_and_not_followed(trees: Trees) -> None:
    (trees.upper / "link").symlink_to("/etc/passwd")
    (trees.upper / "up").symlink_to("../..")
    found = trees.copy(b"link", b"up")
    assert [(name, found[name].issym(), found[name].linkname) for name in found] == [
        ("link", True, "/etc/passwd"),
        ("up", True, "../.."),
    ]


def test_sockets_pipes_and_devices_are_left_out_and_a_removed_name_hides_the_one_below(trees: Trees) -> None:
    os.mkfifo(trees.upper / "pipe")
    os.mknod(trees.upper / "socket", stat.S_IFSOCK | 0o600)
    os.mknod(trees.upper / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(trees.upper / "disk", stat.S_IFBLK | 0o600, os.makedev(8, 0))
    os.mknod(trees.upper / "gone", stat.S_IFCHR | 0o600, 0)
    assert list(trees.copy(b"pipe", b"socket", b"null", b"disk", b"gone")) == [".wh.gone"]


def test_an_opaque_folder_hides_its_namesake_below(trees: Trees) -> None:
    (trees.upper / "app/in").mkdir(parents=True)
    (trees.upper / "app/in/file").touch()
    assert list(trees.copy(b"app", opaque=(b"app/in",))) == [
        "app", "app/in", "app/in/.wh..wh..opq", "app/in/file",
    ]  # fmt: skip


def below_a_link(upper: Path) -> None:
    (upper / "app").symlink_to("/etc")


def below_a_file(upper: Path) -> None:
    (upper / "app").touch()


def reserved_name(upper: Path) -> None:
    (upper / "app").mkdir()
    (upper / "app/x").touch()
    (upper / "app/x").rename(upper / "app/.wh.x")


@pytest.mark.parametrize(
    ("build", "path", "message"),
    [
        (below_a_link, b"app/x", "app/x: lies below a link or a file"),
        (below_a_file, b"app/x", "app/x: lies below a link or a file"),
        (reserved_name, b"app", "app/.wh.x: names that begin with .wh. cannot be stored in an image"),
    ],
)
def test_what_a_layer_cannot_hold_is_refused_by_name(
    trees: Trees, build: Callable[[Path], None], path: bytes, message: str
) -> None:
    build(trees.upper)
    with pytest.raises(BadTree) as refused:
        trees.copy(path)
    assert str(refused.value) == message


def test_a_tree_deeper_than_a_stack_of_calls_is_copied(trees: Trees) -> None:
    fd = os.open(trees.upper, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    assert len(trees.copy(b"d")) == 1500


def test_only_a_mark_that_hides_something_counts(trees: Trees) -> None:
    """overlayfs marks each new folder, whether there is one of that name below or not."""
    for name in ("hides", "new", "deep/hides", "deep/plain", "covers", "covers/inner", "file"):
        (trees.upper / name).mkdir(parents=True)
    for name in ("hides", "new", "deep/hides", "covers", "covers/inner", "file"):
        os.setxattr(trees.upper / name, OPAQUE, b"y")
    for name in ("hides", "deep/hides", "deep/plain", "covers/inner"):
        (trees.folder / "lower" / name).mkdir(parents=True)
    (trees.folder / "lower/file").touch()
    paths = [b"hides", b"new", b"deep", b"covers", b"file", b"missing"]
    lowers = (trees.open("lower"), trees.open("empty"))
    assert find_opaque(trees.open("upper"), paths, lowers) == [b"covers", b"deep/hides", b"hides"]
    assert find_opaque(trees.open("upper"), paths, ()) == []

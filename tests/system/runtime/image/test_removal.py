"""Removing trees that somebody made to be irremovable, or to take something else with them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.image.removal import remove_path, remove_tree
from runtime.kernel import syscalls


@pytest.fixture
def place(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def test_tree_deeper_than_any_path_goes(place: int, tmp_path: Path) -> None:
    os.mkdir("deep", dir_fd=place)
    current = os.open("deep", os.O_RDONLY, dir_fd=place)
    for _ in range(5_000):
        os.mkdir("d", dir_fd=current)
        below = os.open("d", os.O_RDONLY, dir_fd=current)
        os.close(current)
        current = below
    os.close(current)
    remove_tree(place, "deep")
    assert os.listdir(tmp_path) == []


def test_wide_tree_of_every_kind_goes_and_ticks(place: int, tmp_path: Path) -> None:
    top = tmp_path / "wide"
    top.mkdir()
    for number in range(2500):
        (top / f"f{number}").touch()
    for number in range(50):
        (top / f"d{number}" / "e").mkdir(parents=True)
        (top / f"d{number}").chmod(0)
    os.mkfifo(top / "fifo")
    os.mknod(top / "device", stat.S_IFCHR, 0)
    (top / os.fsdecode(b"\xff\n")).touch()
    (top / "link").symlink_to("/etc")
    ticks: list[int] = []
    remove_tree(place, "wide", tick=lambda: ticks.append(1))
    assert os.listdir(tmp_path) == [] and len(ticks) > 50


def test_links_are_not_followed(place: int, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "link").symlink_to("../kept")
    (tmp_path / "top").symlink_to("kept")
    remove_tree(place, "tree")
    remove_tree(place, "top")
    assert os.listdir(tmp_path) == ["kept"] and os.listdir(tmp_path / "kept") == ["file"]


@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
def test_mount_inside_is_refused_and_untouched(place: int, tmp_path: Path, kind: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "precious").write_text("x")
    target = tmp_path / "tree" / "a" / "mounted"
    target.mkdir(parents=True)
    if kind == "bind":
        syscalls.mount(str(tmp_path / "data"), str(target), None, syscalls.MS_BIND)
    else:
        syscalls.mount("tmpfs", str(target), "tmpfs")
        (target / "precious").write_text("x")
    try:
        with pytest.raises(OSError) as caught:
            remove_tree(place, "tree")
        assert caught.value.errno == errno.EXDEV
        assert (target / "precious").read_text() == "x"
    finally:
        syscalls.umount2(str(target), syscalls.MNT_DETACH)
    remove_tree(place, "tree")
    assert os.listdir(tmp_path) == ["data"]


def test_nothing_there_is_no_error(place: int, tmp_path: Path) -> None:
    remove_tree(place, "nothing")
    remove_path(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc"])
def test_only_a_single_name_is_taken(place: int, name: str) -> None:
    with pytest.raises(ValueError, match="single name"):
        remove_tree(place, name)

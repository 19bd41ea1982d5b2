"""Files appear whole or not at all; locks die with their holder."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from runtime.kernel.files import create, lock, locked, replace


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    replace(path, "one", mode=0o640)
    old = path.open()
    replace(path, b"two", mode=0o640, durable=False)
    assert (old.read(), path.read_text()) == ("one", "two")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["state.json"]
    old.close()


def test_the_umask_decides_about_a_file_without_a_mode(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        replace(tmp_path / "one", "")
        replace(tmp_path / "two", "", mode=0o644)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "two").stat().st_mode) == 0o644


def test_a_file_that_cannot_be_named_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        replace(tmp_path / "folder", "x")
    assert os.listdir(tmp_path) == ["folder"]


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("kept")
    (tmp_path / "link").symlink_to("victim")
    replace(tmp_path / "link", "new")
    assert (tmp_path / "victim").read_text() == "kept"
    assert not (tmp_path / "link").is_symlink()


def test_the_first_to_create_a_file_wins(tmp_path: Path) -> None:
    assert create(tmp_path / "key", "first", mode=0o600)
    assert not create(tmp_path / "key", "second", mode=0o600)
    assert (tmp_path / "key").read_text() == "first"
    assert os.listdir(tmp_path) == ["key"]


def test_a_lock_is_held_until_its_descriptor_is_closed(tmp_path: Path) -> None:
    held = lock(tmp_path / "lock")
    with pytest.raises(BlockingIOError):
        lock(tmp_path / "lock", wait=False)
    os.close(held)
    with locked(tmp_path / "lock", wait=False), pytest.raises(BlockingIOError):
        lock(tmp_path / "lock", shared=True, wait=False)


def test_a_lock_may_be_shared(tmp_path: Path) -> None:
    held = [lock(tmp_path / "lock", shared=True, wait=False) for _ in range(2)]
    with pytest.raises(BlockingIOError):
        lock(tmp_path / "lock", wait=False)
    for descriptor in held:
        os.close(descriptor)


def test_a_folder_is_locked_as_it_is(tmp_path: Path) -> None:
    with locked(tmp_path, create=False), pytest.raises(BlockingIOError):
        lock(tmp_path, create=False, wait=False)
    with pytest.raises(FileNotFoundError):
        lock(tmp_path / "absent", create=False)
    assert os.listdir(tmp_path) == []


def test_the_lock_of_a_link_is_not_the_lock_of_its_target(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    with pytest.raises(OSError):
        lock(tmp_path / "link")
    assert os.listdir(tmp_path) == ["link"]

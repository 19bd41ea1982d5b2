"""What other users of the machine, and a daemon that was taken over, can reach of a platform's folders."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest
from harness.api import NOBODY
from harness.spawner import STACKS, SpawnerUnderTest

from paas.host import accounts
from paas.nouns.errors import Unavailable
from runtime.home import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    accounts.ensure_accounts()
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    found = Layout(tmp_path / "home", tmp_path / "stacks", "abcdef")
    accounts.ensure_folders(accounts.durable_folders(found))
    return found


def as_user(uid: int, action: Callable[[], object]) -> str:
    """What the action came to for that user: `done`, or the error's name."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            action()
            said = "done"
        except BaseException as error:
            said = type(error).__name__
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as file:
        return file.read()


def test_sources_in_image_blobs_are_no_business_of_local_users(layout: Layout) -> None:
    blob = layout.images / "blobs" / "sha256" / ("a" * 64)
    blob.write_bytes(b"a tenant's files")
    blob.chmod(0o644)
    assert as_user(NOBODY, blob.read_bytes) == "PermissionError"
    assert as_user(NOBODY, lambda: os.listdir(layout.images)) == "PermissionError"
    assert as_user(pwd.getpwnam("paas").pw_uid, blob.read_bytes) == "done"


@pytest.mark.parametrize("depth", [1, 2])
def test_a_link_in_the_image_layout_gives_nobody_anothers_folder(layout: Layout, depth: int) -> None:
    treasure = layout.home.parent / "treasure"
    (treasure / "sha256").mkdir(parents=True)
    link = layout.images / "blobs"
    (link / "sha256").rmdir()
    if depth == 1:
        link.rmdir()
    else:
        link /= "sha256"
    assert as_user(pwd.getpwnam("paas").pw_uid, lambda: os.symlink(treasure, link)) == "done"
    with pytest.raises(Unavailable):
        accounts.ensure_folders(accounts.durable_folders(layout))
    assert {folder.stat().st_uid for folder in (treasure, treasure / "sha256")} == {0}


def test_a_home_behind_a_link_is_an_ordinary_home(layout: Layout) -> None:
    moved = layout.home.with_name("moved")
    layout.home.rename(moved)
    layout.home.symlink_to(moved)
    accounts.ensure_folders(accounts.durable_folders(layout))
    assert (moved / "images").stat().st_mode & 0o7777 == 0o2750


def test_nobody_plants_files_in_base_layers() -> None:
    spawner = SpawnerUnderTest()
    try:
        spawner.start()
        shared = STACKS / "layers" / spawner.run_layers[0].removeprefix("sha256:") / "var" / "tmp"
        assert shared.is_dir()
        assert as_user(NOBODY, (shared / "planted").touch) == "PermissionError"
    finally:
        spawner.close()

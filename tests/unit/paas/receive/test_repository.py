"""Repositories on disk: refs, locks, quarantines, and what is swept."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import pytest

from paas.receive.locks import Slots
from paas.receive.repository import REPACK_AT, UNREACHABLE_S, Repositories, Repository
from paas.receive.sources import Sources
from runtime.kernel.files import STAGED

APP, ONE, TWO = "a0123456789", "1" * 40, "2" * 40


@pytest.fixture
def repositories(tmp_path: Path) -> Repositories:
    return Repositories(tmp_path)


@pytest.fixture
def repository(repositories: Repositories) -> Repository:
    made = repositories.of(APP)
    made.make()
    return made


def test_only_ids_become_paths(repositories: Repositories) -> None:
    for odd in ("", "../x", "a012345678", "A0123456789", "a0123456789/..", "hello"):
        with pytest.raises(ValueError, match="not an app id"):
            repositories.of(odd)


def test_branch_moves_only_from_where_it_is(repository: Repository) -> None:
    assert not repository.compare_and_swap("main", ONE, TWO)
    assert repository.compare_and_swap("main", None, ONE)
    assert not repository.compare_and_swap("main", TWO, ONE)
    assert not repository.compare_and_swap("main", None, TWO)
    assert repository.compare_and_swap("main", ONE, TWO)
    assert repository.heads() == {"main": TWO}


def test_there_is_one_branch_and_head_names_it(repository: Repository) -> None:
    for branch in ("main", "release/one", "release", "release/one", "master"):
        repository.set_head(branch, ONE)
        assert repository.heads() == {branch: ONE}
        assert (repository.path / "HEAD").read_text() == f"ref: refs/heads/{branch}\n"
    repository.set_head("master", None)
    assert repository.heads() == {}


def test_what_a_crash_left_is_no_branch(repository: Repository) -> None:
    repository.set_head("main", ONE)
    (repository.path / "refs" / "heads" / "main.lock").write_text("")
    (repository.path / "refs" / "heads" / "half").write_text("12")
    (repository.path / "refs" / "heads" / f"{STAGED}0123").write_text(TWO + "\n")
    assert repository.heads() == {"main": ONE}
    assert repository.compare_and_swap("main", ONE, TWO)


def test_lock_names_its_holder_and_dies_with_its_descriptor(repositories: Repositories) -> None:
    first, second = repositories.lock(APP), repositories.lock(APP)
    assert first.acquire("ann")
    assert not second.acquire("bob")
    holder = second.holder()
    assert holder is not None and holder.user == "ann" and holder.since > 0
    first.release()
    assert second.acquire("bob")
    holder = first.holder()
    assert holder is not None and holder.user == "bob"
    second.release()


def test_lock_of_a_removed_file_is_taken_anew(repositories: Repositories) -> None:
    held = repositories.lock(APP)
    assert held.acquire("ann")
    (repositories.root / f"{APP}.lock").unlink()
    assert repositories.lock(APP).acquire("bob")
    held.release()


def test_slots_are_few_and_come_back(tmp_path: Path) -> None:
    slots = Slots(tmp_path / "receiving", 2)
    first, second = slots.acquire(), slots.acquire()
    assert first is not None and second is not None
    assert slots.acquire() is None
    os.close(first)
    again = slots.acquire()
    assert again is not None
    for descriptor in (second, again):
        os.close(descriptor)


def test_pack_comes_out_of_quarantine_index_last(
    repositories: Repositories, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = []
    real = os.rename
    monkeypatch.setattr(os, "rename", lambda old, new: (moved.append(Path(old).suffix), real(old, new)))
    with repositories.quarantine(repository) as quarantine:
        for ending in (".idx", ".pack", ".rev"):
            (quarantine / "objects" / "pack" / f"pack-1{ending}").write_text("x")
        taken = repository.take_in(quarantine)
    assert moved == [".pack", ".rev", ".idx"]
    assert not quarantine.exists()
    packs = repository.objects / "pack"
    assert sorted(os.listdir(packs)) == sorted(taken)
    (packs / "pack-2.idx").touch()
    repository.drop(taken)
    assert os.listdir(packs) == ["pack-2.idx"]


def test_repack_is_wanted_for_many_packs_and_every_week_for_some(repository: Repository) -> None:
    now, packs = time.time(), repository.objects / "pack"
    assert not repository.wants_repack(now) and not repository.wants_repack(now + 2 * UNREACHABLE_S)
    for number in range(REPACK_AT):
        assert not repository.wants_repack(now)
        (packs / f"pack-{number}.pack").touch()
        assert repository.wants_repack(now + 2 * UNREACHABLE_S) == (number > 0)
    assert repository.wants_repack(now)
    (packs / "pack-0.pack").unlink()
    repository.repacked()
    assert not repository.wants_repack(time.time())


def test_quarantine_sees_the_objects_of_its_base(repositories: Repositories, repository: Repository) -> None:
    with repositories.quarantine(repository) as quarantine:
        assert (quarantine / "objects/info/alternates").read_text() == f"{repository.objects}\n"
    with repositories.quarantine(None) as quarantine:
        assert not (quarantine / "objects/info/alternates").exists()


def test_sweep_takes_dead_quarantines_only(repositories: Repositories) -> None:
    with repositories.quarantine(None) as alive:
        dead = repositories.incoming / "dead"
        (dead / "objects" / "pack").mkdir(parents=True)
        (dead / "objects" / "pack" / "tmp_pack_x").write_text("x")
        assert repositories.sweep_incoming(60) == 0, "too young to tell"
        assert repositories.sweep_incoming(0) == 1
        assert alive.exists() and not dead.exists()


def test_repositories_of_gone_apps_go_unless_in_use(repositories: Repositories) -> None:
    gone, kept, busy = "a0000000001", "a0000000002", "a0000000003"
    for app_id in (gone, kept, busy):
        repositories.of(app_id).make()
    held = repositories.lock(busy)
    assert held.acquire("ann")
    assert repositories.remove_unknown({kept}) == [gone]
    assert repositories.app_ids() == [kept, busy]
    held.release()
    assert repositories.remove_unknown({kept}) == [busy]
    assert sorted(os.listdir(repositories.root)) == [f"{kept}.git"]


def test_last_holder_of_a_source_removes_it(tmp_path: Path) -> None:
    sources = Sources(tmp_path)
    for ending in ("tar", "index", "json"):
        (tmp_path / f"{ONE}.{ending}").write_text("x")
    with contextlib.ExitStack() as first:
        assert sources.hold(ONE, first)
        with contextlib.ExitStack() as second:
            assert sources.hold(ONE, second)
        assert sorted(os.listdir(tmp_path)) == [f"{ONE}.index", f"{ONE}.json", f"{ONE}.tar"]
        assert sources.sweep(0) == 0, "in use"
    assert os.listdir(tmp_path) == []
    with contextlib.ExitStack() as third:
        assert not sources.hold(ONE, third)


def test_scratch_folder_goes_and_a_forgotten_one_is_swept(tmp_path: Path) -> None:
    sources = Sources(tmp_path)
    with sources.scratch() as scratch:
        (scratch / "half.tar").write_text("x")
        os.utime(scratch, (0, 0))
        assert sources.sweep(0) == 0, "in use"
    assert os.listdir(tmp_path) == []
    forgotten = tmp_path / ".new-0123"
    forgotten.mkdir()
    (forgotten / "half.tar").write_text("x")
    assert sources.sweep(0) == 1
    assert os.listdir(tmp_path) == []

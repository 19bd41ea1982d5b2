"""The branch of a repository follows the commit that serves."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from paas.receive.api import AppRepository
from paas.receive.heads import current_heads
from paas.receive.repository import Repositories

APP = "a0123456789"
ABSENT = "1" * 40


@pytest.fixture
def repositories(tmp_path: Path) -> Repositories:
    return Repositories(tmp_path)


def app(commit: str | None, *branches: str) -> AppRepository:
    return AppRepository(APP, "hello", branches or ("main", "master"), commit)


@pytest.fixture
def commit(repositories: Repositories) -> str:
    """A commit that the repository has and no branch names."""
    repository = repositories.of(APP)
    repository.make()
    git = ["git", f"--git-dir={repository.path}", "-c", "user.name=A", "-c", "user.email=a@b"]
    tree = (
        subprocess.run([*git, "mktree"], input=b"", capture_output=True, check=True).stdout.decode().strip()
    )
    words = [*git, "commit-tree", "-m", "first", tree]
    return subprocess.run(words, capture_output=True, check=True).stdout.decode().strip()


def test_it_is_set_to_what_serves_and_removed_with_it(repositories: Repositories, commit: str) -> None:
    assert current_heads(repositories, app(None), "ann") == {}
    assert current_heads(repositories, app(commit), "ann") == {"main": commit}
    assert current_heads(repositories, app(ABSENT), "ann") == {}, "objects of that commit are not here"
    assert current_heads(repositories, app(commit, "production"), "ann") == {"production": commit}
    assert current_heads(repositories, app(None), "ann") == {}


def test_it_keeps_the_name_under_which_it_was_pushed(repositories: Repositories, commit: str) -> None:
    repositories.of(APP).set_head("master", ABSENT)
    assert current_heads(repositories, app(commit), "ann") == {"master": commit}


def test_it_is_left_alone_while_a_push_is_at_work(repositories: Repositories, commit: str) -> None:
    lock = repositories.lock(APP)
    assert lock.acquire("bob")
    assert current_heads(repositories, app(commit), "ann") == {}
    lock.release()
    assert current_heads(repositories, app(commit), "ann") == {"main": commit}
    other = AppRepository("a9999999999", "new", ("main",), None)
    assert repositories.lock(other.id).acquire("bob")
    assert current_heads(repositories, other, "ann") == {} and not repositories.of(other.id).exists()

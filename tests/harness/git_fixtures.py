"""A git daemon before an api of the test's own, and a client with a working tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.git import Client, GitDaemon, open_folder


@pytest.fixture
def root() -> Iterator[Path]:
    with open_folder() as path:
        yield path


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[GitDaemon, Client]]:
    """One daemon and one client for the tests of a module: starting them takes longer than most tests."""
    with open_folder() as path:
        running = GitDaemon(path)
        client = Client(running, path / "ann", "ann")
        client.start_tree()
        yield running, client
        running.close()


@pytest.fixture
def daemon(shared: tuple[GitDaemon, Client]) -> GitDaemon:
    """The module's daemon before the first app."""
    shared[0].platform.forget()
    return shared[0]


@pytest.fixture
def ann(shared: tuple[GitDaemon, Client]) -> Client:
    """The owner of what she makes, with a new working tree."""
    shared[1].start_tree()
    return shared[1]


@pytest.fixture
def own_daemon(root: Path) -> Iterator[GitDaemon]:
    """A daemon for one test, which may kill it."""
    running = GitDaemon(root)
    yield running
    running.close()


@pytest.fixture
def make_daemon(root: Path) -> Iterator[Callable[..., GitDaemon]]:
    """A daemon with settings of one's own."""
    running: list[GitDaemon] = []

    def make(**settings: Any) -> GitDaemon:
        running.append(GitDaemon(root, **settings))
        return running[-1]

    yield make
    for each in running:
        each.close()

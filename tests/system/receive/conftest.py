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
    """One daemon and one client with a working tree for the tests of a module that ask for `fresh`."""
    with open_folder() as path:
        running = GitDaemon(path)
        client = Client(running, path / "ann", "ann")
        client.start_tree()
        yield running, client
        running.close()


@pytest.fixture
def fresh(shared: tuple[GitDaemon, Client]) -> tuple[GitDaemon, Client]:
    """The shared daemon before the first app."""
    running, client = shared
    running.platform.forget()
    return running, client


@pytest.fixture
def daemon(root: Path) -> Iterator[GitDaemon]:
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


@pytest.fixture
def ann(daemon: GitDaemon, root: Path) -> Client:
    """The owner of what she makes, with a working tree."""
    client = Client(daemon, root / "ann", "ann")
    client.start_tree()
    return client

"""A push waits for the app's lock, unless it does not want to; afterwards the app is looked at again."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, cast

import pytest

from paas.nouns.errors import Conflict, NotFound
from paas.receive.api import AppRepository
from paas.receive.limits import Limits
from paas.receive.progress import Progress
from paas.receive.push_queue import PushQueue
from paas.receive.repository import Repositories

APP = AppRepository("a0123456789", "hello", ("main", "master"), None)


class Directory:
    """The app as the API has it now."""

    app: AppRepository | None = APP

    def repository(self, name: str) -> AppRepository | None:
        assert name == APP.name
        return self.app


@pytest.fixture
def directory() -> Directory:
    return Directory()


@pytest.fixture
def queue(tmp_path: Path, directory: Directory) -> PushQueue:
    progress = Progress(lambda line: None)
    return PushQueue(Repositories(tmp_path), Limits(receiving=1), cast(Any, directory), "ann", progress)


def test_the_lock_is_held_until_the_end_and_names_its_holder(tmp_path: Path, queue: PushQueue) -> None:
    other = Repositories(tmp_path).lock(APP.id)
    with contextlib.ExitStack() as held:
        assert queue.lock_app(APP, held, wait=False) is APP
        assert Repositories(tmp_path).of(APP.id).exists()
        assert not other.acquire("bob")
        holder = other.holder()
        assert holder is not None and holder.user == "ann"
    assert other.acquire("bob")
    with contextlib.ExitStack() as held, pytest.raises(Conflict, match=r"A push by bob since .* on hello"):
        queue.lock_app(APP, held, wait=False)
    other.release()


@pytest.mark.parametrize("now", [None, AppRepository("a9999999999", "hello", ("main",), None)])
def test_an_app_that_is_gone_or_another_one_by_then(
    tmp_path: Path, queue: PushQueue, directory: Directory, now: AppRepository | None
) -> None:
    directory.app = now
    with contextlib.ExitStack() as held, pytest.raises(NotFound, match="The app hello is gone"):
        queue.lock_app(APP, held, wait=True)
    assert Repositories(tmp_path).lock(APP.id).acquire("bob"), "the lock was given back"


def test_a_slot_is_free_again_when_its_descriptor_is_closed(tmp_path: Path, queue: PushQueue) -> None:
    slot = queue.take_slot()
    assert Repositories(tmp_path).slots("ann", 1).acquire() is None
    os.close(slot)
    os.close(queue.take_slot())

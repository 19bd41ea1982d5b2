"""Sources that are not pushed, as the api gets them."""

from __future__ import annotations

import contextlib
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.nouns import make_app
from harness.platform import wait_for

from paas.nouns.errors import BadInput, Cancelled, TooMany
from paas.nouns.settings import load
from paas.release import origin
from paas.release.deployment import never


class Home:
    """What of a platform a fetch needs."""

    work_groups = ()

    def __init__(self, folder: Path) -> None:
        self.settings = load({"home": str(folder)}, {})
        self.layout = type("Layout", (), {"sources": folder})()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "sources").mkdir()
    return Home(tmp_path / "sources")


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "app.py").write_text("print(1)\n")
    with tarfile.open(tmp_path / "app.tar", "w") as tar:
        tar.add(tmp_path / "app.py", "app.py")
    with open(tmp_path / "app.tar", "rb") as file:
        yield file.fileno()


def take(
    home: Any, what: dict[str, Any], cancelled: Any = never
) -> contextlib.AbstractContextManager[origin.Fetched]:
    return origin.fetched(home, make_app(), what, print, cancelled)


def test_a_source_is_there_for_the_length_of_the_block(home: Home, archive: int) -> None:
    with take(home, {"archive": archive}) as source:
        assert (home.layout.sources / f"{source.tree}.tar").exists() and source.commit == ""
    assert list(home.layout.sources.iterdir()) == []


def test_a_refusal_is_raised(home: Home, tmp_path: Path) -> None:
    (tmp_path / "none").write_bytes(b"not an archive")
    with (
        open(tmp_path / "none", "rb") as file,
        pytest.raises(BadInput, match="no archive"),
        take(home, {"archive": file.fileno()}),
    ):
        raise AssertionError
    assert list(home.layout.sources.iterdir()) == []


def test_a_caller_who_gives_up_leaves_nothing(home: Home, archive: int) -> None:
    with pytest.raises(Cancelled), take(home, {"archive": archive}, lambda: True):
        raise AssertionError
    assert list(home.layout.sources.iterdir()) == []


def test_an_owner_has_two_turns(home: Home, archive: int) -> None:
    ready, end = threading.Barrier(3), threading.Event()

    def hold() -> None:
        with origin._turns.one(7):
            ready.wait(10)
            end.wait(10)

    threads = [threading.Thread(target=hold) for _ in range(2)]
    for thread in threads:
        thread.start()
    ready.wait(10)
    with pytest.raises(TooMany), origin._turns.one(7):
        raise AssertionError
    with origin._turns.one(8):
        pass
    end.set()
    for thread in threads:
        thread.join()
    wait_for(lambda: not origin._turns._running.total())

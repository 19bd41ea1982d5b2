"""What is swept vanishes meanwhile: living pushes and builds remove and rename their own files."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from paas.build.source import ENDINGS
from paas.receive.repository import Repositories, remove_folder
from paas.receive.sources import Sources
from paas.routing import files


def source(folder: Path) -> None:
    """A push that makes a source, and another that uses it."""
    sources, tree = Sources(folder), secrets.token_hex(20)
    with sources.scratch() as scratch:
        for ending in reversed(ENDINGS):
            (scratch / ending).write_text("x")
            os.utime(scratch / ending, (0, 0))
            (scratch / ending).rename(folder / f"{tree}{ending}")
    with contextlib.ExitStack() as held:
        sources.hold(tree, held)


def quarantine(folder: Path) -> None:
    with Repositories(folder).quarantine(None):
        pass


def page(folder: Path) -> None:
    (folder / "pages").mkdir(exist_ok=True)
    files.put(folder, "pages", ".html", secrets.token_bytes(8))


SWEEPS: dict[str, tuple[Callable[[Path], object], Callable[[Path], object]]] = {
    "sources": (source, lambda folder: Sources(folder).sweep(60)),
    "quarantines": (quarantine, lambda folder: Repositories(folder).sweep_incoming(60)),
    "edge": (page, lambda folder: files.sweep(folder, "pages", (), young_s=-1)),
}


@pytest.mark.parametrize("kind", SWEEPS)
def test_sweeping_beside_those_who_make_and_remove(kind: str, tmp_path: Path) -> None:
    work, sweep = SWEEPS[kind]
    with working(lambda: work(tmp_path)) as count:
        while len(count) < 150:
            sweep(tmp_path)


@contextlib.contextmanager
def working(work: Callable[[], object]) -> Iterator[list[None]]:
    """Two threads that work on; what is swept from under them is theirs to bear."""
    stop, count = threading.Event(), [None]
    work()

    def loop() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError):
                work()
            count.append(None)

    threads = [threading.Thread(target=loop) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield count
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_folder_that_a_dying_child_still_writes_into_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / ".new-left"
    folder.mkdir()
    written, stop = threading.Event(), threading.Event()

    def write() -> None:
        for number in range(300):
            with contextlib.suppress(FileNotFoundError):
                (folder / str(number)).write_text("x")
            written.set()
        stop.set()

    threading.Thread(target=write, daemon=True).start()
    written.wait(10)
    remove_folder(folder)
    assert stop.wait(10)
    assert not folder.exists()

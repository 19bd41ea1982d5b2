"""Making a stack through the spawner, with its progress as it comes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from paas.daemon import threads
from runtime.client import Spawner
from runtime.home import Layout

POLL_S = 0.1


class Maker(Protocol):
    """What making a stack needs of a platform."""

    layout: Layout
    spawner: Spawner


def make_stack(
    platform: Maker, name: str, *, line: Callable[[str], None], cancelled: Callable[[], bool]
) -> None:
    """Make the stack, or find it made. When cancelled it returns at once, and the spawner goes on.

    Raises what the spawner's client does: SpawnerError, OSError.
    """
    failed: list[Exception] = []

    def make() -> None:
        try:
            platform.spawner.ensure_stack(name)
        except Exception as error:
            failed.append(error)

    progress = GrowingFile(platform.layout.spawner_socket.parent / f"stack-{name}.log")
    worker = threads.start("stack", make)
    while worker.is_alive() and not cancelled():
        worker.join(POLL_S)
        for text in progress.lines():
            line(text)
    if failed:
        raise failed[0]


class GrowingFile:
    """New whole lines of a file that grows, from where it ended when this was made."""

    def __init__(self, path: Path) -> None:
        self._path, self._unfinished = path, ""
        self._at = path.stat().st_size if path.exists() else 0

    def lines(self) -> list[str]:
        try:
            with open(self._path, encoding="utf-8", errors="replace") as file:
                file.seek(min(self._at, os.fstat(file.fileno()).st_size))
                text = file.read()
                self._at = file.tell()
        except FileNotFoundError:
            return []
        *whole, self._unfinished = (self._unfinished + text).split("\n")
        return [line for line in whole if line.strip()]

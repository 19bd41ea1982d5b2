"""The stack that a build stands on: load it, or have the spawner make it and show the progress."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from paas.build.output import Output
from paas.build.platform import Platform
from paas.build.step import spawner_failure
from paas.daemon import threads
from paas.nouns.errors import BuildFailed, Cancelled
from runtime.client import SpawnerError
from runtime.stack import build as stacks
from runtime.stack.build import Stack

POLL_S = 0.1


def load_or_make(platform: Platform, name: str, output: Output) -> Stack:
    """Return the app's stack; make it first if this machine has none."""
    found = stacks.load(platform.layout.stacks, name)
    if found is not None:
        return found
    output.line(f"-----> Making stack {name}: once for this machine, about half a minute")
    try:
        make_stack(
            platform, name, line=lambda text: output.line(f"       {text}"), cancelled=output.cancelled
        )
    except (SpawnerError, OSError) as error:
        raise spawner_failure(error) from error
    if output.cancelled():
        raise Cancelled("The push was cancelled; the stack is still being made.", cause="cancelled")
    found = stacks.load(platform.layout.stacks, name)
    if found is None:
        raise BuildFailed(f"Stack {name} could not be made.", "See: paas stacks", cause="no stack")
    return found


def make_stack(
    platform: Platform,
    name: str,
    *,
    line: Callable[[str], None],
    cancelled: Callable[[], bool],
    again: bool = False,
) -> None:
    """Have the spawner make the stack unless it exists, or `again`. When cancelled it returns at once, and the spawner goes on.

    Raises what the spawner's client does: SpawnerError, OSError.
    """
    failed: list[Exception] = []

    def make() -> None:
        try:
            platform.spawner.ensure_stack(name, again=again)
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
    """Reads the whole lines that are appended to a file after this object is made."""

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

"""The newest event that every router worker has applied. Converge notes it beside its socket; a change waits for it."""

from __future__ import annotations

import time
from pathlib import Path

from runtime.home import Layout
from runtime.kernel import files

_LOOK_S = 0.01


def note(layout: Layout, seq: int) -> None:
    """Record that every worker has a table made after event `seq`. Raises OSError."""
    files.replace(_path(layout), str(seq), durable=False)


def wait(layout: Layout, seq: int, *, timeout_s: float) -> bool:
    """Wait until every worker has applied event `seq`; False if that took too long, or if converge does not run."""
    if not layout.converge_socket.exists():
        return False
    deadline = time.monotonic() + timeout_s
    while not _reached(layout, seq):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK_S)
    return True


def _reached(layout: Layout, seq: int) -> bool:
    try:
        return int(_path(layout).read_text()) >= seq
    except (OSError, ValueError):
        return False


def _path(layout: Layout) -> Path:
    return layout.converge_socket.with_name("routed")

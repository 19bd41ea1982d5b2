"""Threads of the daemons. An exception goes to the log with its traceback; a thread that the daemon needs all the time
begins again afterwards."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from runtime.kernel.forked import log_crash

AGAIN_S = 5.0
"""The pause after a failure."""


def start(
    name: str, work: Callable[[], object], *, then: Callable[[], object] | None = None
) -> threading.Thread:
    """Start a thread that does `work` once, and then `then`, also after an exception."""

    def body() -> None:
        try:
            _logged(name, work)
        finally:
            if then is not None:
                then()

    return _started(threading.Thread(target=body, name=name))


def keep(name: str, work: Callable[[], object], *, again_s: float = AGAIN_S) -> threading.Thread:
    """Start a thread that does `work` until it returns; after an exception it begins again."""

    def body() -> None:
        while not _logged(name, work):
            time.sleep(again_s)

    return _started(threading.Thread(target=body, name=name))


def later(name: str, seconds: float, work: Callable[[], object]) -> threading.Timer:
    """Start a thread that does `work` after `seconds`, unless it is cancelled before."""
    timer = threading.Timer(seconds, _logged, (name, work))
    _started(timer)
    return timer


def _started(thread: threading.Thread) -> threading.Thread:
    thread.daemon = True
    thread.start()
    return thread


def _logged(name: str, work: Callable[[], object]) -> bool:
    """Do `work`; True if it raised nothing, else the log has the traceback."""
    try:
        work()
    except Exception:
        log_crash(f"thread {name}")
        return False
    return True

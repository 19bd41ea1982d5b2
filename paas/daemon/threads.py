"""Threads of the daemons. None ends in silence: an exception goes to the log with its traceback, and a thread that is
needed for as long as the daemon lives goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from runtime.kernel.forked import log_crash

AGAIN_S = 5.0
"""How long after a failure a lasting thread begins again."""


def start(
    name: str, work: Callable[[], object], *, then: Callable[[], object] | None = None
) -> threading.Thread:
    """A thread that does `work` once; `then` is called at its end, however that came."""

    def body() -> None:
        try:
            _logged(name, work)
        finally:
            if then is not None:
                then()

    return _started(threading.Thread(target=body, name=name))


def keep(name: str, work: Callable[[], object], *, again_s: float = AGAIN_S) -> threading.Thread:
    """A thread that does `work` until that returns: after an exception it begins again."""

    def body() -> None:
        while not _logged(name, work):
            time.sleep(again_s)

    return _started(threading.Thread(target=body, name=name))


def later(name: str, seconds: float, work: Callable[[], object]) -> threading.Timer:
    """A thread that does `work` after some time, unless it is cancelled before."""
    timer = threading.Timer(seconds, _logged, (name, work))
    _started(timer)
    return timer


def _started(thread: threading.Thread) -> threading.Thread:
    thread.daemon = True
    thread.start()
    return thread


def _logged(name: str, work: Callable[[], object]) -> bool:
    """Whether it ended well."""
    try:
        work()
    except Exception:
        log_crash(f"thread {name}")
        return False
    return True

"""A signal to every process in a container."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from runtime.kernel.process import signal_pidfd

_AT_ONCE = 256


def signal_all(list_pids: Callable[[], list[int]], init: int, number: int) -> None:
    """Signal all but pid 1, by pidfd, and only what is listed still: a pid may have been used again meanwhile."""
    pids = [pid for pid in list_pids() if pid != init]
    for start in range(0, len(pids), _AT_ONCE):
        opened: dict[int, int] = {}
        for pid in pids[start : start + _AT_ONCE]:
            with suppress(ProcessLookupError):
                opened[pid] = os.pidfd_open(pid)
        still = opened.keys() & set(list_pids())
        for pid, pidfd in opened.items():
            if pid in still:
                signal_pidfd(pidfd, number)
            os.close(pidfd)

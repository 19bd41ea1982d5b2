"""Waiting for one descriptor, a pidfd among them."""

from __future__ import annotations

import select


def readable(fd: int, timeout_s: float | None = 0) -> bool:
    """Whether `fd` is ready to be read, or becomes so in time; None waits for as long as it takes.

    By poll(2): select(2) knows no descriptor beyond 1023, and a spawner has several for each container.
    """
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if timeout_s is None else timeout_s * 1000))

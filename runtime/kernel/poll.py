"""Waiting for one descriptor, a pidfd among them."""

from __future__ import annotations

import select


def readable(fd: int, timeout_s: float | None = 0) -> bool:
    """Whether `fd` is readable within `timeout_s`; None waits without limit.

    It uses poll(2), since select(2) cannot handle descriptors above 1023 and a spawner has several for each container.
    """
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if timeout_s is None else timeout_s * 1000))

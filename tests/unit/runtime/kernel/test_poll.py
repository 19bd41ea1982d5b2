"""Waiting for one descriptor, however high its number is."""

from __future__ import annotations

import fcntl
import os

from runtime.kernel.poll import readable


def test_a_descriptor_beyond_1023_is_waited_for() -> None:
    read, write = os.pipe()
    high = fcntl.fcntl(read, fcntl.F_DUPFD_CLOEXEC, 1500)
    assert not readable(high) and not readable(high, 0.01)
    os.write(write, b"x")
    assert readable(high) and readable(high, None)
    for fd in (read, write, high):
        os.close(fd)

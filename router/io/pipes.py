"""Pipes of the kernel that large bodies are spliced through, from one socket to another, without being copied."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import Final

PIPE_BYTES: Final = 1024 * 1024
MAX_PIPES: Final = 32


class Pipe:
    """`held` bytes are in it."""

    __slots__ = ("held", "into", "out_of")

    def __init__(self) -> None:
        self.held = 0
        self.out_of, self.into = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # a user may have so many pages in pipes only
            fcntl.fcntl(self.into, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def close(self) -> None:
        os.close(self.out_of)
        os.close(self.into)


class Pipes:
    """The pipes of a worker: a few, so that clients who do not read cannot have all the memory."""

    def __init__(self) -> None:
        self._idle: list[Pipe] = []
        self.lent = 0

    def take(self) -> Pipe | None:
        """An empty pipe, None when all are in use."""
        pipe: Pipe | None = None
        if self._idle:
            pipe = self._idle.pop()
        elif self.lent < MAX_PIPES:
            with contextlib.suppress(OSError):
                pipe = Pipe()
        if pipe is not None:
            self.lent += 1
        return pipe

    def give(self, pipe: Pipe) -> None:
        """Take back a pipe; what is in it is lost."""
        self.lent -= 1
        if pipe.held:
            pipe.close()
        else:
            self._idle.append(pipe)

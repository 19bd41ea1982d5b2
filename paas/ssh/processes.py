"""The accept loop's list of the processes that serve connections, and the users who logged in to them."""

from __future__ import annotations

import contextlib
import os
import select
from dataclasses import dataclass

_MAX_NAME_BYTES = 256


@dataclass(frozen=True)
class LoggedIn:
    """The process of a connection, and the user who has just logged in to it."""

    pid: int
    user: str


class Processes:
    """One process per connection. Each has a pipe, registered with `poller`, through which it reports its user's name."""

    def __init__(self, poller: select.poll) -> None:
        self._poller = poller
        self._pipes: dict[int, int] = {}
        """By pid."""
        self._users: dict[int, str] = {}
        """By pid."""

    def __len__(self) -> int:
        return len(self._pipes)

    def add(self, pid: int, pipe: int) -> None:
        self._pipes[pid] = pipe
        self._poller.register(pipe, select.POLLIN)

    def read_login(self, pipe: int) -> LoggedIn | None:
        """Read the name from a readable pipe. None if the process ended without a login."""
        pid = next((pid for pid, other in self._pipes.items() if other == pipe), None)
        if pid is None:  # it was reaped in the same turn
            return None
        self._poller.unregister(pipe)
        name = os.read(pipe, _MAX_NAME_BYTES).decode("utf-8", "replace")
        if not name:
            return None
        self._users[pid] = name
        return LoggedIn(pid, name)

    def count(self, user: str) -> int:
        """The connections of this user."""
        return list(self._users.values()).count(user)

    def remove(self, pid: int) -> None:
        """Forget a process that has ended; others than those of connections are ignored."""
        self._users.pop(pid, None)
        pipe = self._pipes.pop(pid, None)
        if pipe is not None:
            with contextlib.suppress(KeyError):  # not registered any more after its login
                self._poller.unregister(pipe)
            os.close(pipe)

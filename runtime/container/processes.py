"""A container's processes as its shim sees them: signals to them, and when the end of one is the end of all.

The end of the main program ends the others at once. While the container is being stopped it does not: each process may
finish its work until none is left. The limit on wall time, and the grace after a client's interrupt, end all of them.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from types import FrameType

from runtime.cgroup import Group
from runtime.container.records import exit_record
from runtime.kernel.process import signal_all, signal_pidfd
from runtime.protocol import Exit

STOPPING = signal.SIGTERM
"""The spawner sends it to the shim before it asks the container's processes to end."""

GRACE_S = 30.0
"""How long the rest of a command that its client interrupted may go on after the main program has ended."""

SIGNALS = {"HUP", "INT", "QUIT", "KILL", "USR1", "USR2", "TERM", "CONT", "STOP", "TSTP"}
"""Names of the signals that a client may send to a main program."""

_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)


class Processes:
    """`pid` and `pidfd` are pid 1 of the container, whose end is the container's; on `report` it writes how the main
    program has ended."""

    def __init__(self, group: Group, pid: int, pidfd: int, report: int, wall_s: float | None) -> None:
        self._group = group
        self._pid = pid
        self.pidfd, self.report = pidfd, report
        self._wall_ends = None if wall_s is None else time.monotonic() + wall_s
        self._wall_exceeded = False
        self._grace_s: float | None = None
        self._grace_ends: float | None = None
        self._stopping = False
        self._status: int | None = None
        signal.signal(STOPPING, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True

    def signal(self, number: int) -> None:
        """To the main program; one that asks to end goes to every process, as a terminal would send it."""
        if number in _ENDING:
            self._stopping = True
            self._grace_s = GRACE_S
            signal_all(self._group.pids, number, but=self._pid)
        else:
            signal_pidfd(self.pidfd, number)

    def kill(self) -> None:
        """Pid 1, and with it the kernel kills everything inside."""
        signal_pidfd(self.pidfd, signal.SIGKILL)

    def deadlines(self) -> list[float]:
        """The moments at which `kill_if_due` has something to do."""
        return [at for at in (self._wall_ends, self._grace_ends) if at is not None]

    def kill_if_due(self, now: float) -> None:
        if self._wall_ends is not None and now >= self._wall_ends:
            self._wall_ends, self._wall_exceeded = None, True
            self.kill()
        if self._grace_ends is not None and now >= self._grace_ends:
            self._grace_ends = None
            self.kill()

    def read_report(self) -> None:
        """The main program has ended: kill the others, or let them finish."""
        data = os.read(self.report, 4)
        if not data:
            return
        self._status = int.from_bytes(data, sys.byteorder)
        if not self._stopping:
            self.kill()
        elif self._grace_s is not None:
            self._grace_ends = time.monotonic() + self._grace_s

    def exit(self) -> Exit:
        """How the main program ended, or pid 1 if that was killed first. To be called when pid 1 has ended."""
        _, status = os.waitpid(self._pid, 0)
        status = status if self._status is None else self._status
        return exit_record(status, self._group, wall_exceeded=self._wall_exceeded)

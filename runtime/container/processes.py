"""A container's processes as its shim sees them: signals to them, and when the end of one is the end of all.

The end of the main program ends the others at once, since the container is its container. Once the container is being
stopped that holds no longer: what its processes still do is theirs, whoever of them ends first, until none is left.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from types import FrameType

from runtime.cgroup import Group
from runtime.kernel.process import signal_all, signal_pidfd

STOPPING = signal.SIGTERM
"""What the spawner sends to the shim before it asks the container's processes to end."""

GRACE_S = 30.0
"""What is left of a command that its client interrupted may go on so long after the main program has ended."""

_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)


class Processes:
    """`pid` and `pidfd` are pid 1 of the container, whose end is the container's; on `report` it writes how the main
    program has ended."""

    def __init__(self, group: Group, pid: int, pidfd: int, report: int) -> None:
        self._group = group
        self._pid = pid
        self.pidfd, self.report = pidfd, report
        self._stopping = False
        self._grace_s: float | None = None
        self._status: int | None = None
        self.deadline: float | None = None
        signal.signal(STOPPING, self._told)

    def _told(self, number: int, frame: FrameType | None) -> None:
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

    def kill_if_due(self, now: float) -> None:
        if self.deadline is not None and now >= self.deadline:
            self.deadline = None
            self.kill()

    def read_report(self) -> None:
        """The main program has ended: so do the others, or they may go on."""
        data = os.read(self.report, 4)
        if not data:
            return
        self._status = int.from_bytes(data, sys.byteorder)
        if not self._stopping:
            self.kill()
        elif self._grace_s is not None:
            self.deadline = time.monotonic() + self._grace_s

    def wait(self) -> int:
        """The main program's wait status, or pid 1's if that was killed first. To be called when pid 1 has ended."""
        _, status = os.waitpid(self._pid, 0)
        return status if self._status is None else self._status

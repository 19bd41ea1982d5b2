"""A signal to everything in a container, in an order that lets what runs below a shell end in its own time.

A shell that waits for a command dies of SIGTERM at once, and with the main process the kernel ends everything
else. So a shell that has children and does not handle the signal gets it after those children have ended.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runtime.loop import Loop
from runtime.process import start_ticks

SHELLS = frozenset({"sh", "bash", "dash", "ash", "busybox", "zsh", "ksh"})
_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_LOOK_AGAIN_S = 0.02


@dataclass(frozen=True)
class Seen:
    """A process at the moment of the signal. `name` is what it calls itself: a hint, never a proof."""

    pid: int
    parent: int
    name: str
    caught: int
    start_ticks: int

    def handles(self, number: int) -> bool:
        return bool(self.caught >> (number - 1) & 1)


def waiting_shells(processes: Iterable[Seen], number: int) -> dict[Seen, list[Seen]]:
    """Shells that would die at once and the children they wait for. Pure."""
    found = list(processes)
    if number not in _ENDING:
        return {}
    return {
        shell: children
        for shell in found
        if shell.name in SHELLS and not shell.handles(number)
        if (children := [child for child in found if child.parent == shell.pid])
    }


def look(pid: int) -> Seen | None:
    """What proc_pid_status(5) says of a process; None if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
        fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        if fields["State"][0] in "ZX":
            return None
        return Seen(pid, int(fields["PPid"]), fields["Name"], int(fields["SigCgt"], 16), start_ticks(pid))
    except (OSError, KeyError, ValueError):
        return None


def signal_all(loop: Loop, list_pids: Callable[[], list[int]], init: int, number: int) -> None:
    """Signal every process but the init program; shells that wait get it when what they wait for has ended."""
    seen = [process for pid in list_pids() if pid != init and (process := look(pid))]
    late = waiting_shells(seen, number)
    for process in seen:
        if process not in late:
            _send(process, number)
    if late:
        loop.after(_LOOK_AGAIN_S, lambda: _follow(loop, late, number))


def _follow(loop: Loop, late: dict[Seen, list[Seen]], number: int) -> None:
    for shell, children in list(late.items()):
        if not any(_same(child) for child in children):
            _send(shell, number)
            del late[shell]
        elif not _same(shell):
            del late[shell]
    if late:
        loop.after(_LOOK_AGAIN_S, lambda: _follow(loop, late, number))


def _same(process: Seen) -> bool:
    now = look(process.pid)
    return now is not None and now.start_ticks == process.start_ticks


def _send(process: Seen, number: int) -> None:
    """By pidfd, so that a pid that was used again in the meantime is not hit."""
    with suppress(ProcessLookupError):
        pidfd = os.pidfd_open(process.pid)
        try:
            if _same(process):
                signal.pidfd_send_signal(pidfd, number)
        finally:
            os.close(pidfd)

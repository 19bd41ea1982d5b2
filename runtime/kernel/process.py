"""The identity of a process: pid, start time and boot, because the kernel gives the pid of an ended process to others."""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_OPENED_AT_ONCE = 256
_CREDENTIALS = struct.Struct("iII")
"""pid, uid, gid: `struct ucred`."""

_START_TIME = 19
"""Index of `starttime` in the fields after the command name (proc_pid_stat(5), field 22)."""


@dataclass(frozen=True)
class Identity:
    """Names one process for ever: `start_ticks` is its start in clock ticks since boot `boot_id`."""

    pid: int
    start_ticks: int
    boot_id: str

    def __str__(self) -> str:
        """How files and rows name a process (see `is_running`)."""
        return f"{self.boot_id} {self.pid} {self.start_ticks}"


def boot_id() -> str:
    """The kernel's random name of the current boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_ticks(pid: int) -> int:
    """When a process started, in clock ticks since boot. Raises ProcessLookupError."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except FileNotFoundError:
        raise ProcessLookupError(pid) from None
    return int(stat[stat.rindex(b")") + 2 :].split()[_START_TIME])


def identify(pid: int, boot: str) -> Identity:
    """The identity of the process that has this pid now. Raises ProcessLookupError."""
    return Identity(pid, start_ticks(pid), boot)


def this_process() -> Identity:
    return identify(os.getpid(), boot_id())


def is_running(name: str) -> bool:
    """Whether the process still runs that `name`, the text of an Identity, names."""
    try:
        _, pid, _ = name.split()
        return str(identify(int(pid), boot_id())) == name
    except (ValueError, OSError):
        return False


def open_pidfd(identity: Identity, boot: str) -> int | None:
    """A pidfd of exactly this process; None if it has ended, even if another process has its pid."""
    if identity.boot_id != boot:
        return None
    try:
        pidfd = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return None
    try:
        if start_ticks(identity.pid) == identity.start_ticks:
            return pidfd
    except ProcessLookupError:
        pass
    os.close(pidfd)
    return None


def peer_uid(sock: socket.socket) -> int:
    """The uid at the other end of a unix socket when it connected (unix(7), SO_PEERCRED)."""
    _, uid, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return int(uid)


def signal_pidfd(pidfd: int, number: int) -> bool:
    """Signal a process; False if it has ended."""
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    return True


def signal_all(list_pids: Callable[[], list[int]], number: int, *, but: int) -> None:
    """Signal every listed process except the pid `but`. A pid may be used again between listing and opening, so only
    those that are listed once more afterwards are signalled."""
    pids = [pid for pid in list_pids() if pid != but]
    for start in range(0, len(pids), _OPENED_AT_ONCE):
        opened: dict[int, int] = {}
        for pid in pids[start : start + _OPENED_AT_ONCE]:
            with suppress(ProcessLookupError):
                opened[pid] = os.pidfd_open(pid)
        still = opened.keys() & set(list_pids())
        for pid, pidfd in opened.items():
            if pid in still:
                signal_pidfd(pidfd, number)
            os.close(pidfd)

"""The parent of one connection: single-threaded, forks a job for each command, hangs up on it, reports its end.

At the other end of the control socket sits the process that speaks SSH (threads, hostile bytes). A message is a verb,
a number and perhaps a body: `start N JOB` with the job's streams as descriptors, `hangup N`; back: `exit N STATUS`.
"""

from __future__ import annotations

import array
import contextlib
import os
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass

from paas.git.jobs import Job, Office, describe, enter
from runtime.forked import fork

MAX_MESSAGE_BYTES = 192 * 1024
GRACE_S = 5.0


@dataclass(frozen=True)
class _Running:
    """A job under way: its number on the wire, what the log says of it, when it began (monotonic seconds)."""

    number: int
    pid: int
    what: str
    since: float


class Monitor:
    """Jobs of one connection. `control` is one end of a SOCK_SEQPACKET pair."""

    def __init__(self, control: socket.socket, office: Office) -> None:
        self._control = control
        self._office = office
        self._jobs: dict[int, _Running] = {}
        """By pidfd."""

    def serve(self) -> None:
        """Until the connection is gone and its jobs have ended."""
        poller = select.poll()
        poller.register(self._control, select.POLLIN)
        open_ = True
        deadline = float("inf")
        while open_ or self._jobs:
            for descriptor, _ in poller.poll(1000):
                if descriptor != self._control.fileno():
                    poller.unregister(descriptor)
                    self._reap(descriptor)
                elif not (open_ := self._message(poller)):
                    poller.unregister(self._control)
                    deadline = time.monotonic() + GRACE_S
                    self._signal_all(signal.SIGHUP)
            if time.monotonic() > deadline:
                self._signal_all(signal.SIGKILL)

    def _message(self, poller: select.poll) -> bool:
        data, streams = _receive(self._control)
        if not data:
            return False
        verb, number, body = data.split(b" ", 2)
        if verb == b"start":
            pidfd = self._start(int(number), Job.decode(body), streams)
            poller.register(pidfd, select.POLLIN)
        elif verb == b"hangup":
            for running in self._jobs.values():
                if running.number == int(number):
                    _signal_group(running.pid, signal.SIGHUP)
        return True

    def _start(self, number: int, job: Job, streams: list[int]) -> int:
        parent = os.getpid()
        pid = fork("git job", lambda: enter(job, self._office, streams, parent))
        for descriptor in streams:
            os.close(descriptor)
        pidfd = os.pidfd_open(pid)
        self._jobs[pidfd] = _Running(
            number, pid, f"user={job.user!r} command={describe(job)}", time.monotonic()
        )
        return pidfd

    def _reap(self, pidfd: int) -> None:
        running = self._jobs.pop(pidfd)
        _signal_group(running.pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(running.pid, 0)[1])
        os.close(pidfd)
        seconds = time.monotonic() - running.since
        sys.stderr.write(f"git: event=done {running.what} status={status} seconds={seconds:.2f}\n")
        with contextlib.suppress(OSError):
            self._control.send(b"exit %d %d" % (running.number, status if status >= 0 else 128 - status))

    def _signal_all(self, number: int) -> None:
        for running in self._jobs.values():
            _signal_group(running.pid, number)


def _signal_group(pid: int, number: int) -> None:
    """Signal a job and what it started; a job that has not made its group yet is signalled alone."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _receive(control: socket.socket) -> tuple[bytes, list[int]]:
    streams = array.array("i")
    data, ancillary, _, _ = control.recvmsg(
        MAX_MESSAGE_BYTES, socket.CMSG_LEN(3 * streams.itemsize), socket.MSG_CMSG_CLOEXEC
    )
    for level, kind, body in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            streams.frombytes(body[: len(body) - len(body) % streams.itemsize])
    return data, list(streams)

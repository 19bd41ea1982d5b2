"""The parent of one connection: single-threaded, judges the login, forks a job for each command, reports its end.

At the other end of the control socket sits the confined process that speaks SSH (threads, hostile bytes); what it
says is checked, and nothing but this process acts for the user who logged in. See control.py for their words.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import struct
import sys
import termios
import time
from dataclasses import dataclass

from paas.nouns.errors import PaasError
from paas.ssh import control
from paas.ssh.control import NO, YES, Asked, Proving
from paas.ssh.jobs import Job, Office, describe, enter
from paas.ssh.login import Gate, Nonsense
from runtime.kernel.forked import fork, log_lines

GRACE_S = 5.0
_MOST_CRASHES = 8


@dataclass(frozen=True)
class _Running:
    """A job under way: its number on the wire, what the log says of it, when it began (monotonic seconds)."""

    number: int
    pid: int
    what: str
    since: float


class Monitor:
    """Jobs of one connection. `speaker` is one end of a SOCK_SEQPACKET pair."""

    def __init__(self, speaker: socket.socket, office: Office, gate: Gate) -> None:
        self._speaker = speaker
        self._office = office
        self._gate = gate
        self._jobs: dict[int, _Running] = {}
        """By pidfd."""
        self._most = 2 * office.places.limits.sessions
        """More than the speaker lets in: a command may outlive its channel for a moment."""
        self._crashes = 0
        self._poller = select.poll()

    def serve(self) -> None:
        """Until the connection is gone and its jobs have ended."""
        self._poller.register(self._speaker, select.POLLIN)
        open_ = True
        deadline = float("inf")
        while open_ or self._jobs:
            for descriptor, _ in self._poller.poll(1000):
                if descriptor != self._speaker.fileno():
                    self._poller.unregister(descriptor)
                    self._reap(descriptor)
                elif open_ and not (open_ := self._heard()):
                    self._poller.unregister(self._speaker)
                    deadline = time.monotonic() + GRACE_S
                    self._signal_all(signal.SIGHUP)
            if time.monotonic() > deadline:
                self._signal_all(signal.SIGKILL)

    def _heard(self) -> bool:
        """Do what the speaker asks next; False at its end, or when it asks for what it never asks for."""
        try:
            data = self._speaker.recv(control.MAX_MESSAGE_BYTES)
            if not data:
                return False
            if data.startswith(control.CRASHED):
                self._crashed(data.decode("utf-8", "replace"))
            else:
                self._do(*control.unpack(data))
        except (Nonsense, ValueError, TypeError, IndexError, RecursionError, struct.error) as error:
            _log(f"event=nonsense error={str(error)!r}")
            return False
        except PaasError as error:
            _log(f"event=refused error={error.message!r}")
            return False
        except OSError:  # ECONNRESET: it ended and left unread what was told to it
            return False
        return True

    def _do(self, verb: bytes, number: int, body: bytes) -> None:
        if verb == b"sign":
            self._answer(number, self._gate.sign(body))
        elif verb == b"offer":
            self._answer(number, YES if self._gate.offer(body) else NO)
        elif verb == b"prove":
            self._answer(number, YES if self._gate.prove(Proving.decode(body)) else NO)
        elif verb == b"start":
            self._start(number, Asked.decode(body))
        elif verb == b"hangup":
            for running in self._jobs.values():
                if running.number == number:
                    _signal_group(running.pid, signal.SIGHUP)
        else:
            raise Nonsense("an unknown word")

    def _crashed(self, text: str) -> None:
        """A bug in the speaker; only the log's first line begins where lines begin."""
        self._crashes += 1
        if self._crashes > _MOST_CRASHES:
            raise Nonsense("too many crashes")
        log_lines(["event=crashed process='git ssh'", *("  " + line for line in text.splitlines())])

    def _answer(self, number: int, body: bytes, streams: tuple[int, ...] = ()) -> None:
        """Raises OSError, also when the speaker does not listen."""
        data = [control.pack(b"answer", number, body)]
        socket.send_fds(self._speaker, data, list(streams), socket.MSG_DONTWAIT)

    def _start(self, number: int, asked: Asked) -> None:
        gate = self._gate
        if gate.user is None or gate.proof is None or len(self._jobs) >= self._most:
            raise Nonsense("a command out of turn")
        job = Job(gate.user, gate.proof, asked.command, asked.term)
        ours, theirs = _streams(asked)
        try:
            self._fork(number, job, theirs)
            self._answer(number, b"", ours)
        finally:
            for descriptor in (*ours, *theirs):
                os.close(descriptor)

    def _fork(self, number: int, job: Job, streams: tuple[int, ...]) -> None:
        parent = os.getpid()
        pid = fork("git job", lambda: enter(job, self._office, list(streams), parent))
        pidfd = os.pidfd_open(pid)
        self._poller.register(pidfd, select.POLLIN)
        self._jobs[pidfd] = _Running(
            number, pid, f"user={job.user!r} command={describe(job)}", time.monotonic()
        )

    def _reap(self, pidfd: int) -> None:
        running = self._jobs.pop(pidfd)
        _signal_group(running.pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(running.pid, 0)[1])
        os.close(pidfd)
        seconds = time.monotonic() - running.since
        _log(f"event=done {running.what} status={status} seconds={seconds:.2f}")
        told = b"%d" % (status if status >= 0 else 128 - status)
        with contextlib.suppress(OSError):
            self._speaker.send(control.pack(b"exit", running.number, told), socket.MSG_DONTWAIT)

    def _signal_all(self, number: int) -> None:
        for running in self._jobs.values():
            _signal_group(running.pid, number)


def _streams(asked: Asked) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The speaker's ends of a command's streams, and the command's."""
    if asked.term is not None:
        master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", asked.rows, asked.columns, 0, 0))
        return (master,), (slave,)
    (inner_in, outer_in), (outer_out, inner_out), (outer_err, inner_err) = os.pipe(), os.pipe(), os.pipe()
    return (outer_in, outer_out, outer_err), (inner_in, inner_out, inner_err)


def _signal_group(pid: int, number: int) -> None:
    """Signal a job and what it started; a job that has not made its group yet is signalled alone."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _log(line: str) -> None:
    sys.stderr.write(f"git: {line}\n")
    sys.stderr.flush()

"""The parent of one connection: single-threaded, checks the login, forks a job for each command, reports its end.

At the other end of the control socket is the speaker, the confined process that speaks SSH (threads, hostile bytes). Its
messages (see `control`) are checked, and only this process acts for the user who logged in.
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
from paas.receive.context import GitContext
from paas.ssh import control
from paas.ssh.connection import speak
from paas.ssh.control import NO, YES, CommandRequest, SignedLogin
from paas.ssh.jobs import Job, describe, run_job
from paas.ssh.login import Login, ProtocolViolation
from runtime.kernel.forked import fork, log_lines

GRACE_S = 5.0
_MAX_CRASHES = 8
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 20), (socket.TCP_KEEPCNT, 4))
_USER_TIMEOUT_MS = 120_000


def serve_connection(sock: socket.socket, ctx: GitContext, login_fd: int) -> None:
    """Fork the speaker, which is confined, and become its monitor. `login_fd` tells the accept loop the user's name."""
    for option, value in _KEEPALIVE:
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent, sessions = os.getpid(), ctx.limits.sessions
    pid = fork("git ssh", lambda: speak(sock, far, key=ctx.host_key, sessions=sessions, parent=parent))
    far.close()
    sock.close()
    login = Login(ctx.host_key_folder, ctx.api_socket, lambda user: _report_login(login_fd, user))
    Monitor(near, ctx, login).serve()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _report_login(login_fd: int, user: str) -> None:
    os.write(login_fd, user.encode())
    os.close(login_fd)


@dataclass(frozen=True)
class _Running:
    """A job under way: its number on the wire, what the log says of it, when it began (monotonic seconds)."""

    number: int
    pid: int
    what: str
    since: float


class Monitor:
    """Jobs of one connection. `speaker` is one end of a SOCK_SEQPACKET pair."""

    def __init__(self, speaker: socket.socket, ctx: GitContext, login: Login) -> None:
        self._speaker = speaker
        self._ctx = ctx
        self._login = login
        self._jobs: dict[int, _Running] = {}
        """By pidfd."""
        self._max_jobs = 2 * ctx.limits.sessions
        """More than the speaker allows: a command may outlive its channel for a moment."""
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
                elif open_ and not (open_ := self._handle_message()):
                    self._poller.unregister(self._speaker)
                    deadline = time.monotonic() + GRACE_S
                    self._signal_all(signal.SIGHUP)
            if time.monotonic() > deadline:
                self._signal_all(signal.SIGKILL)

    def _handle_message(self) -> bool:
        """Handle the speaker's next message; False at its end, or if it breaks the protocol."""
        try:
            data = self._speaker.recv(control.MAX_MESSAGE_BYTES)
            if not data:
                return False
            if data.startswith(control.CRASHED):
                self._crashed(data.decode("utf-8", "replace"))
            else:
                self._dispatch(*control.unpack(data))
        except (ProtocolViolation, ValueError, TypeError, IndexError, RecursionError, struct.error) as error:
            log_line(f"event=nonsense error={str(error)!r}")
            return False
        except PaasError as error:
            log_line(f"event=refused error={error.message!r}")
            return False
        except OSError:  # ECONNRESET: it ended without reading what was sent to it
            return False
        return True

    def _dispatch(self, verb: bytes, number: int, body: bytes) -> None:
        if verb == b"sign":
            self._answer(number, self._login.sign(body))
        elif verb == b"offer":
            self._answer(number, YES if self._login.offer(body) else NO)
        elif verb == b"prove":
            self._answer(number, YES if self._login.prove(SignedLogin.decode(body)) else NO)
        elif verb == b"start":
            self._start(number, CommandRequest.decode(body))
        elif verb == b"hangup":
            for running in self._jobs.values():
                if running.number == number:
                    _signal_group(running.pid, signal.SIGHUP)
        else:
            raise ProtocolViolation("an unknown word")

    def _crashed(self, text: str) -> None:
        """Log a bug of the speaker, indented: its text must not look like a line of the log."""
        self._crashes += 1
        if self._crashes > _MAX_CRASHES:
            raise ProtocolViolation("too many crashes")
        log_lines(["event=crashed process='git ssh'", *("  " + line for line in text.splitlines())])

    def _answer(self, number: int, body: bytes, streams: tuple[int, ...] = ()) -> None:
        """Raises OSError, also if the speaker does not read."""
        data = [control.pack(b"answer", number, body)]
        socket.send_fds(self._speaker, data, list(streams), socket.MSG_DONTWAIT)

    def _start(self, number: int, request: CommandRequest) -> None:
        login = self._login
        if login.user is None or login.proof is None or len(self._jobs) >= self._max_jobs:
            raise ProtocolViolation("a command out of turn")
        job = Job(login.user, login.proof, request.command, request.term)
        near, far = _streams(request)
        try:
            self._fork(number, job, far)
            self._answer(number, b"", near)
        finally:
            for descriptor in (*near, *far):
                os.close(descriptor)

    def _fork(self, number: int, job: Job, streams: tuple[int, ...]) -> None:
        parent = os.getpid()
        pid = fork("git job", lambda: run_job(job, self._ctx, list(streams), parent))
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
        log_line(f"event=done {running.what} status={status} seconds={seconds:.2f}")
        code = b"%d" % (status if status >= 0 else 128 - status)
        with contextlib.suppress(OSError):
            self._speaker.send(control.pack(b"exit", running.number, code), socket.MSG_DONTWAIT)

    def _signal_all(self, number: int) -> None:
        for running in self._jobs.values():
            _signal_group(running.pid, number)


def _streams(request: CommandRequest) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The speaker's ends of a command's streams, and the command's."""
    if request.term is not None:
        master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", request.rows, request.columns, 0, 0))
        return (master,), (slave,)
    (inner_in, outer_in), (outer_out, inner_out), (outer_err, inner_err) = os.pipe(), os.pipe(), os.pipe()
    return (outer_in, outer_out, outer_err), (inner_in, inner_out, inner_err)


def _signal_group(pid: int, number: int) -> None:
    """Signal a job and its children; a job that has not made its process group yet is signalled alone."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def log_line(line: str) -> None:
    """A line of the git server in the operator's log."""
    sys.stderr.write(f"git: {line}\n")
    sys.stderr.flush()

"""The process that speaks SSH with one client, and relays between its channels and the jobs of the monitor."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
import termios
import threading
import time
from collections.abc import Callable
from functools import partial

from paramiko.channel import Channel
from paramiko.ed25519key import Ed25519Key
from paramiko.ssh_exception import SSHException

from paas import threads
from paas.git.api import Api
from paas.git.jobs import Job
from paas.git.limits import Limits
from paas.git.transport import KEEPALIVE_S, Front, HardenedTransport, Terminal

CHUNK = 32 * 1024
IDLE_S = 600.0
"""So long a connection may stay open without a command."""

STALL_S = 3600.0
"""So long a client may leave unread what a command said."""

_END_OF_INPUT = b"\x04"
_LINGER_S = 5.0


class Jobs:
    """The monitor's jobs as seen from here."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._ends: dict[int, threading.Event] = {}
        self._statuses: dict[int, int] = {}
        threads.start("git jobs", self._listen, then=lambda: os._exit(1))

    def start(self, number: int, job: Job, streams: list[int]) -> None:
        self._ends[number] = threading.Event()
        socket.send_fds(self._control, [b"start %d " % number + job.encode()], streams)

    def hangup(self, number: int) -> None:
        if not self._ends[number].is_set():
            with contextlib.suppress(OSError):
                self._control.send(b"hangup %d " % number)

    def wait(self, number: int) -> int:
        self._ends[number].wait()
        return self._statuses[number]

    def _listen(self) -> None:
        while data := self._control.recv(4096):
            _, number, status = data.split()
            self._statuses[int(number)] = int(status)
            self._ends[int(number)].set()


class Session:
    """One channel with its job: three pipes, or a pty."""

    def __init__(self, channel: Channel, jobs: Jobs, terminal: Terminal | None) -> None:
        self._channel = channel
        self._jobs = jobs
        self._number = channel.chanid
        self._terminal = terminal
        self._master = -1

    def run(self, job: Job) -> None:
        """Until the job has ended and the client has heard everything."""
        pumps = self._start_with_terminal(job) if self._terminal else self._start_with_pipes(job)
        self._channel.settimeout(STALL_S)
        threads.start("git input", self._feed, then=lambda: os.close(self._input))
        threads.start("git channel", self._watch)
        status = self._jobs.wait(self._number)
        for pump in pumps:
            pump.join(_LINGER_S if self._terminal else None)
        with contextlib.suppress(OSError, SSHException, EOFError):
            self._channel.send_exit_status(status)

    def close(self) -> None:
        """The end of the channel, also for a client whose job could not be started."""
        with contextlib.suppress(OSError, SSHException, EOFError):
            self._channel.close()
        self._channel.status_event.set()

    def resize(self, terminal: Terminal) -> None:
        if self._master >= 0:
            _set_size(self._master, terminal)

    def _start_with_pipes(self, job: Job) -> list[threading.Thread]:
        inner_in, self._input = os.pipe()
        out, inner_out = os.pipe()
        err, inner_err = os.pipe()
        streams = [inner_in, inner_out, inner_err]
        self._jobs.start(self._number, job, streams)
        for descriptor in streams:
            os.close(descriptor)
        return [self._pump(out, self._channel.sendall), self._pump(err, self._channel.sendall_stderr)]

    def _start_with_terminal(self, job: Job) -> list[threading.Thread]:
        assert self._terminal is not None
        self._master, slave = os.openpty()
        _set_size(self._master, self._terminal)
        self._input = os.dup(self._master)
        self._jobs.start(self._number, job, [slave])
        os.close(slave)
        return [self._pump(self._master, self._channel.sendall)]

    def _pump(self, source: int, send: Callable[[bytes], None]) -> threading.Thread:
        """From the job to the client, until either is done."""

        def pump() -> None:
            with contextlib.suppress(OSError, SSHException, EOFError):
                while data := os.read(source, CHUNK):
                    send(data)

        def close() -> None:
            if source != self._master:
                os.close(source)

        return threads.start("git output", pump, then=close)

    def _feed(self) -> None:
        """From the client to the job, until either is done."""
        with contextlib.suppress(OSError):
            while data := self._heard():
                _write_all(self._input, data)
            if self._terminal and not self._channel.closed:
                _write_all(self._input, _END_OF_INPUT)

    def _heard(self) -> bytes:
        """What the client sends next; it may be silent for as long as it likes."""
        while True:
            with contextlib.suppress(TimeoutError):
                return bytes(self._channel.recv(CHUNK))

    def _watch(self) -> None:
        """The end of the channel, whoever ends it, hangs up on a job that still runs."""
        self._channel.status_event.wait()
        self._jobs.hangup(self._number)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _set_size(master: int, terminal: Terminal) -> None:
    size = struct.pack("HHHH", terminal.rows, terminal.columns, 0, 0)
    with contextlib.suppress(OSError):
        fcntl.ioctl(master, termios.TIOCSWINSZ, size)


class Connection:
    """Serve one accepted socket, whose version line has been sent. `on_login` hears the user's name."""

    def __init__(
        self,
        sock: socket.socket,
        control: socket.socket,
        *,
        key: Ed25519Key,
        api: Api,
        limits: Limits,
        on_login: Callable[[str], None],
    ) -> None:
        self._jobs = Jobs(control)
        self._sessions: dict[int, Session] = {}
        self._last_used = time.monotonic()
        self._running: set[int] = set()
        self._front = Front(api, lambda: self._transport.open_channels() < limits.sessions, on_login)
        self._front.resized = self._resized
        self._transport = HardenedTransport(sock, self._after_request)
        self._transport.add_server_key(key)

    def serve(self) -> None:
        """Until the client leaves."""
        ready = threading.Event()
        self._transport.start_server(event=ready, server=self._front)
        ready.wait()
        self._transport.set_keepalive(KEEPALIVE_S)
        while self._transport.is_alive():
            self._transport.join(10)
            if self._running:
                self._last_used = time.monotonic()
            elif time.monotonic() - self._last_used > IDLE_S:
                self._transport.close()

    def _after_request(self, channel: Channel) -> None:
        number = channel.chanid
        if number not in self._front.asked or number in self._sessions or self._front.user is None:
            return
        terminal = self._front.terminals.get(number)
        self._running.add(number)
        self._sessions[number] = Session(channel, self._jobs, terminal)
        job = Job(self._front.user, self._front.asked[number], terminal.term if terminal else None)
        threads.start(
            "git session", partial(self._sessions[number].run, job), then=partial(self._ended, number)
        )

    def _ended(self, number: int) -> None:
        self._running.discard(number)
        self._sessions[number].close()

    def _resized(self, number: int, terminal: Terminal) -> None:
        if number in self._sessions:
            self._sessions[number].resize(terminal)

"""The speaker: the process that speaks SSH with one client, and relays between its channels and the monitor's jobs.

It reads what strangers send, so it is confined before the first byte: it can use the client's socket and the control
socket, and can open, reach, start and signal nothing.
"""

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
from dataclasses import replace
from functools import partial
from typing import cast

from paramiko.channel import Channel
from paramiko.pkey import PKey
from paramiko.ssh_exception import SSHException

from paas.daemon import threads
from paas.ssh.control import CommandRequest
from paas.ssh.monitor_client import MonitorClient
from paas.ssh.paramiko_transport import KEEPALIVE_S, HardenedTransport, HostKey
from paas.ssh.requests import ClientRequests, Terminal
from runtime.kernel import files, forked, syscalls
from runtime.kernel.confine import MIB, Bounds, confine

CHUNK = 32 * 1024
_INPUT_BYTES = 4 * MIB
"""More than a channel's window, so that one read takes all that has come: paramiko moves what is left, for each read anew."""

IDLE_S = 600.0
"""A connection without a command is closed after this time."""

STALL_S = 3600.0
"""A client that does not read a command's output for this long is given up."""

BOUNDS = Bounds(
    talks=True, memory_bytes=512 * MIB, file_bytes=0, open_files=64, cpu_s=30 * 24 * 3600, tasks=8192
)
"""The accept loop bounds the time before login; afterwards a user's commands may last."""

_STACK_BYTES = 512 * 1024
_END_OF_INPUT = b"\x04"
_LINGER_S = 5.0


class Session:
    """One channel with its job: three pipes, or a pty."""

    def __init__(self, channel: Channel, monitor: MonitorClient, terminal: Terminal | None) -> None:
        self._channel = channel
        self._monitor = monitor
        self._terminal = terminal
        self._number = 0
        self._master = -1

    def run(self, request: CommandRequest) -> None:
        """Start the job; return when it has ended and the client has got all of its output."""
        self._number, streams = self._monitor.start(request)
        pumps = self._with_terminal(*streams) if self._terminal else self._with_pipes(*streams)
        self._channel.settimeout(STALL_S)
        threads.start("git input", self._feed, then=lambda: os.close(self._input))
        threads.start("git channel", self._watch)
        status = self._monitor.wait(self._number)
        for pump in pumps:  # a process that outlives the job may keep the terminal open
            pump.join(_LINGER_S if self._terminal else None)
        with contextlib.suppress(OSError, SSHException, EOFError):
            self._channel.send_exit_status(status)

    def close(self) -> None:
        """Close the channel, also for a client whose job could not be started."""
        with contextlib.suppress(OSError, SSHException, EOFError):
            self._channel.close()
        self._channel.status_event.set()  # `_watch` waits for it, also if closing failed

    def resize(self, terminal: Terminal) -> None:
        if self._master >= 0:
            _set_size(self._master, terminal)

    def _with_pipes(self, inward: int, out: int, err: int) -> list[threading.Thread]:
        self._input = inward
        return [
            self._start_pump(out, self._channel.sendall),
            self._start_pump(err, self._channel.sendall_stderr),
        ]

    def _with_terminal(self, master: int) -> list[threading.Thread]:
        assert self._terminal is not None
        self._master = master
        _set_size(master, self._terminal)
        self._input = os.dup(master)
        return [self._start_pump(master, self._channel.sendall)]

    def _start_pump(self, source: int, send: Callable[[bytes], None]) -> threading.Thread:
        """Copy from the job to the client, until either is done."""

        def pump() -> None:
            with contextlib.suppress(OSError, SSHException, EOFError):
                while data := os.read(source, CHUNK):
                    send(data)

        def close() -> None:
            if source != self._master:  # a terminal may be resized until the connection ends
                os.close(source)

        return threads.start("git output", pump, then=close)

    def _feed(self) -> None:
        """Copy from the client to the job, until either is done."""
        with contextlib.suppress(OSError):
            while data := self._received():
                files.write_all(self._input, data)
            if self._terminal and not self._channel.closed:
                files.write_all(self._input, _END_OF_INPUT)

    def _received(self) -> bytes:
        """The client's next bytes; it may be silent for as long as it likes."""
        while True:
            with contextlib.suppress(TimeoutError):
                return bytes(self._channel.recv(_INPUT_BYTES))

    def _watch(self) -> None:
        """Hang up on the job when the channel ends, from either side."""
        self._channel.status_event.wait()
        self._monitor.hangup(self._number)


def _set_size(master: int, terminal: Terminal) -> None:
    size = struct.pack("HHHH", terminal.rows, terminal.columns, 0, 0)
    with contextlib.suppress(OSError):
        fcntl.ioctl(master, termios.TIOCSWINSZ, size)


class Connection:
    """Serve one accepted socket, whose version line has been sent. `key` is the public half of the host key."""

    def __init__(self, sock: socket.socket, monitor: MonitorClient, *, key: bytes, sessions: int) -> None:
        self._monitor = monitor
        self._sessions: dict[int, Session] = {}
        self._last_used = time.monotonic()
        self._running: set[int] = set()
        self._requests = ClientRequests(lambda: self._transport.open_channels() < sessions)
        self._requests.resized = self._resized
        self._transport = HardenedTransport(sock, monitor, self._after_request)
        self._transport.add_server_key(cast(PKey, HostKey(key, monitor)))

    def serve(self) -> None:
        """Until the client leaves."""
        ready = threading.Event()
        self._transport.start_server(event=ready, server=self._requests)
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
        if number not in self._requests.commands or number in self._sessions:
            return
        terminal = self._requests.terminals.get(number)
        self._running.add(number)
        self._sessions[number] = Session(channel, self._monitor, terminal)
        request = CommandRequest(self._requests.commands[number])
        if terminal is not None:
            request = replace(request, term=terminal.term, columns=terminal.columns, rows=terminal.rows)
        threads.start(
            "git session", partial(self._sessions[number].run, request), then=partial(self._ended, number)
        )

    def _ended(self, number: int) -> None:
        self._running.discard(number)
        self._sessions[number].close()

    def _resized(self, number: int, terminal: Terminal) -> None:
        if number in self._sessions:
            self._sessions[number].resize(terminal)


def speak(sock: socket.socket, control: socket.socket, *, key: bytes, sessions: int, parent: int) -> None:
    """Confine this process, then serve `sock` until the client leaves."""
    threading.stack_size(_STACK_BYTES)
    syscalls.one_heap()
    null = os.open("/dev/null", os.O_RDWR)
    confine(BOUNDS, keep=(sock.fileno(), control.fileno(), null), parent=parent)
    for number in range(3):  # it may not write the log
        os.dup2(null, number)
    os.close(null)
    forked.log_to(control.fileno())
    Connection(sock, MonitorClient(control), key=key, sessions=sessions).serve()

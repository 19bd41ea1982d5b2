"""The shim's loop: from the container's pipes or terminal to its log and its client, until it has ended."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import signal
import struct
import termios
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from runtime import frames
from runtime.container.attach import Attach
from runtime.container.logs import MAX_LINE_BYTES, Journal, LineSplitter, Ring, sanitize
from runtime.container.processes import SIGNALS, Processes

_READ_BYTES = 64 * 1024
_WINDOW_S = 0.1
_WINDOW_BYTES = 4 * 1024 * 1024
_STDIN_BYTES = 256 * 1024
_LINGER_S = 10.0
_MOST_FAULTS = 10
_FAULT_PAUSE_S = 0.1


@dataclass(frozen=True)
class Ends:
    """The shim's ends of the container's streams: of its pipes, or the master of its terminal for all three. Without
    a client standard error shares the pipe of the output and there is no input."""

    stdout: int
    stderr: int | None = None
    stdin: int | None = None
    terminal: int | None = None

    def __iter__(self) -> Iterator[int]:
        return iter({fd for fd in (self.stdout, self.stderr, self.stdin) if fd is not None})

    @classmethod
    def of_terminal(cls, master: int) -> Ends:
        return cls(master, None, master, master)


class Pump:
    """`exit_fd` is open on the exit record, since a shim may not open files. `attach` serves a client, if one may come."""

    def __init__(
        self,
        ends: Ends,
        processes: Processes,
        journal: Journal,
        ring: Ring,
        exit_fd: int,
        attach: Attach | None,
    ) -> None:
        self._processes = processes
        self._journal = journal
        self._ring = ring
        self._exit_fd = exit_fd
        self._attach = attach
        self._console, self._terminal = ends.terminal is not None, ends.terminal
        self._stdin = ends.stdin
        self._outputs = {ends.stdout: frames.STDOUT}
        if ends.stderr is not None:
            self._outputs[ends.stderr] = frames.STDERR
        self._splitters = {fd: LineSplitter() for fd in self._outputs}
        self._typed = bytearray()
        self._end_stdin = False
        self._window, self._window_bytes = 0.0, 0
        self._faults = 0
        for fd in ends:
            os.set_blocking(fd, False)

    def run(self) -> None:
        """Until the container has ended and its last output has been passed on.

        An exception in this code becomes a line in the container's log and ends no container, unless there are many.
        """
        while True:
            try:
                if self._turn():
                    break
            except Exception as error:
                self._fault(error)
        self._finish()

    def _turn(self) -> bool:
        """Wait for events and handle them; returns whether the container has ended."""
        now = time.monotonic()
        ready = self._poll(now)
        self._watch_time(time.monotonic())
        for fd, events in ready.items():
            self._dispatch(fd, events)
        return self._processes.pidfd in ready

    def _fault(self, error: Exception) -> None:
        """Raises `error` when it is one too many."""
        self._faults += 1
        last = self._faults > _MOST_FAULTS
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(frame.filename)}, line {frame.lineno}"
        what = f"the platform's fault, not the app's: {type(error).__name__}: {error} ({where})"
        end = "; too many of them, this process is ended" if last else ""
        line = sanitize(f"{what}{end}".encode("utf-8", "replace"))[:MAX_LINE_BYTES]
        self._ring.write(self._journal.own_line(line, time.time()))
        if last:
            raise error
        if self._attach is not None and self._attach.connected:
            self._attach.hang_up()
            self._client_gone()
        time.sleep(_FAULT_PAUSE_S)

    def _poll(self, now: float) -> dict[int, int]:
        poll = select.poll()
        for fd in (self._processes.pidfd, self._processes.report):
            poll.register(fd, select.POLLIN)
        if now - self._window > _WINDOW_S:
            self._window, self._window_bytes = now, 0
        flooded = self._window_bytes > _WINDOW_BYTES
        if not flooded and (self._attach is None or self._attach.has_room()):
            for fd in self._outputs:
                poll.register(fd, select.POLLIN)
        events = {}
        if self._attach is not None:
            for fd, wanted in self._attach.interest(read=len(self._typed) < _STDIN_BYTES):
                poll.register(fd, wanted)
        if self._typed and self._stdin is not None:
            both = select.POLLOUT | (select.POLLIN if self._stdin in self._outputs else 0)
            poll.register(self._stdin, both)
        for fd, event in poll.poll(self._timeout_ms(now, flooded)):
            events[fd] = event
        return events

    def _timeout_ms(self, now: float, flooded: bool) -> float | None:
        moments = self._processes.deadlines()
        if flooded:
            moments.append(self._window + _WINDOW_S)
        if self._journal.dropped:
            moments.append(now + 1.0)
        if self._attach is not None and self._attach.awaited_until is not None:
            moments.append(self._attach.awaited_until)
        return max(0.0, min(moments) - now) * 1000 + 1 if moments else None

    def _watch_time(self, now: float) -> None:
        self._processes.kill_if_due(now)
        if self._attach is not None:
            self._attach.give_up_if_due(now)
        if self._journal.note_due(now) and not self._journal.throttled(now):
            self._ring.write(self._journal.take_note(time.time(), now))

    def _dispatch(self, fd: int, events: int) -> None:
        attach = self._attach
        if fd == self._processes.report:
            self._processes.read_report()
        if fd == self._stdin and events & select.POLLOUT:
            self._feed_stdin()
        if fd in self._outputs and events & (select.POLLIN | select.POLLHUP | select.POLLERR):
            self._read(fd)
        if attach is None:
            return
        if attach.is_listener(fd):
            attach.accept()
        elif attach.is_client(fd):
            gone = False
            if events & (select.POLLIN | select.POLLHUP | select.POLLERR):
                received = attach.receive()
                gone = received is None
                for channel, payload in received or ():
                    self._from_client(channel, payload)
            if not gone and events & select.POLLOUT:
                gone = not attach.send()
            if gone:
                self._client_gone()

    def _read(self, fd: int) -> bool:
        """Pass one piece of output on; False at its end."""
        try:
            data = os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.EIO:  # what a terminal says when nobody has it open any more
                raise
            data = b""
        if not data:
            self._close_output(fd)
            return False
        self._window_bytes += len(data)
        if self._attach is not None:
            self._attach.put(self._outputs[fd], data)
        if not self._console:
            self._log(fd, data)
        return True

    def _log(self, fd: int, data: bytes) -> None:
        now = time.monotonic()
        if self._journal.throttled(now):
            self._journal.drop(self._splitters[fd].forget(data))
            return
        lines = self._splitters[fd].feed(data)
        if lines:
            self._ring.write(self._journal.format(lines, wall=time.time(), now=now))

    def _close_output(self, fd: int) -> None:
        lines = self._splitters[fd].finish()
        if lines and not self._console:
            self._ring.write(self._journal.format(lines, wall=time.time(), now=time.monotonic()))
        del self._outputs[fd]
        if fd == self._stdin:
            self._stdin = None
        if fd == self._terminal:
            self._terminal = None
        os.close(fd)

    def _from_client(self, channel: int, payload: bytes) -> None:
        if channel == frames.STDIN:
            self._typed += payload if payload or not self._console else b"\x04"
            if not payload and not self._console:
                self._end_stdin = True
            self._feed_stdin()
        elif channel == frames.RESIZE and len(payload) == 4 and self._terminal is not None:
            size = struct.pack("HHHH", *struct.unpack(">HH", payload), 0, 0)
            with suppress(OSError):
                fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, size)
        elif channel == frames.SIGNAL:
            name = payload.decode("ascii", "replace").removeprefix("SIG")
            if name in SIGNALS:
                self._processes.signal(getattr(signal, f"SIG{name}"))

    def _feed_stdin(self) -> None:
        if self._stdin is None:
            self._typed.clear()
            return
        try:
            while self._typed:
                del self._typed[: os.write(self._stdin, memoryview(self._typed)[:65536])]
        except BlockingIOError:
            return
        except OSError:
            self._typed.clear()
            self._end_stdin = True
        if self._end_stdin and self._stdin not in self._outputs:
            os.close(self._stdin)
            self._stdin = None

    def _client_gone(self) -> None:
        """A terminal is hung up; a pipe has come to its end."""
        if not self._console:
            self._end_stdin = True
            self._feed_stdin()
        elif self._terminal is not None:
            self._processes.signal(signal.SIGHUP)
            self._close_output(self._terminal)

    def _finish(self) -> None:
        try:
            self._drain()
        except Exception as error:
            self._fault(error)
        record = self._processes.exit()
        os.write(self._exit_fd, json.dumps(vars(record)).encode())
        if self._attach is not None:
            self._attach.put(frames.EXIT, json.dumps({"status": record.status}).encode())
            self._linger(self._attach)

    def _drain(self) -> None:
        """Pass on the output that is still in the pipes."""
        for fd in list(self._outputs):
            while self._read(fd):
                pass
        for fd in list(self._outputs):
            self._close_output(fd)
        if self._journal.dropped:
            self._ring.write(self._journal.take_note(time.time(), time.monotonic()))

    def _linger(self, attach: Attach) -> None:
        """Until the client has everything, or none came in time."""
        deadline = time.monotonic() + _LINGER_S
        while attach.pending() and (left := deadline - time.monotonic()) > 0:
            poll = select.poll()
            for fd, wanted in attach.interest(read=True):
                poll.register(fd, wanted)
            for fd, events in poll.poll(left * 1000):
                if attach.is_listener(fd):
                    attach.accept()
                elif events & select.POLLOUT:
                    attach.send()
                else:
                    attach.receive()

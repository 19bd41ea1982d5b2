"""The shim's loop: from the container's pipes or terminal to its log and its client, until it has ended."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import signal
import socket
import struct
import termios
import time
import traceback
from contextlib import suppress
from typing import Any

from runtime import frames
from runtime.cgroup import Group
from runtime.container import logs
from runtime.container.attach import FIRST_CLIENT_S, Attach
from runtime.container.processes import Processes
from runtime.spec import ContainerSpec

_READ_BYTES = 64 * 1024
_WINDOW_S = 0.1
_WINDOW_BYTES = 4 * 1024 * 1024
_STDIN_BYTES = 256 * 1024
_LINGER_S = 10.0
_MOST_FAULTS = 10
_FAULT_PAUSE_S = 0.1
_SIGNALS = {"HUP", "INT", "QUIT", "KILL", "USR1", "USR2", "TERM", "CONT", "STOP", "TSTP"}


class Pump:
    """`ours` is the terminal's master, or the read ends of stdout (and stderr) and the write end of stdin."""

    def __init__(
        self,
        spec: ContainerSpec,
        group: Group,
        processes: Processes,
        ours: list[int],
        log_files: tuple[int, int],
        exit_file: int,
        listener: socket.socket | None,
    ) -> None:
        self._group = group
        self._processes = processes
        self._exit_file = exit_file
        self._terminal = ours[0] if spec.terminal is not None else None
        self._stdin: int | None = ours[2] if len(ours) > 2 else self._terminal
        self._outputs = dict(zip(ours[:2], (frames.STDOUT, frames.STDERR), strict=False))
        self._splitters = {fd: logs.LineSplitter() for fd in self._outputs}
        self._journal = logs.Journal(spec.log.source, spec.log.dyno)
        self._ring = logs.Ring(log_files)
        self._attach = None if listener is None else Attach(listener)
        self._typed = bytearray()
        self._end_stdin = False
        self._started = time.monotonic()
        self._wall_s = spec.limits.wall_s
        self._wall_exceeded = False
        self._window, self._window_bytes = 0.0, 0
        self._faults = 0
        for fd in ours:
            os.set_blocking(fd, False)

    def run(self) -> None:
        """Until the container has ended and its last output has been passed on.

        A fault of this code is told in the container's log and ends no container, unless they go on and on.
        """
        while True:
            try:
                if self._turn():
                    break
            except Exception as error:
                self._fault(error)
        self._finish()

    def _turn(self) -> bool:
        """Wait for something and deal with it; whether the container has ended."""
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
        line = logs.sanitize(f"{what}{end}".encode("utf-8", "replace"))[: logs.MAX_LINE_BYTES]
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
        moments = []
        if flooded:
            moments.append(self._window + _WINDOW_S)
        if self._journal.dropped:
            moments.append(now + 1.0)
        if self._wall_s is not None and not self._wall_exceeded:
            moments.append(self._started + self._wall_s)
        if self._processes.deadline is not None:
            moments.append(self._processes.deadline)
        if self._attach is not None and self._attach.awaited:
            moments.append(self._started + FIRST_CLIENT_S)
        return max(0.0, min(moments) - now) * 1000 + 1 if moments else None

    def _watch_time(self, now: float) -> None:
        if self._wall_s is not None and not self._wall_exceeded and now >= self._started + self._wall_s:
            self._wall_exceeded = True
            self._processes.kill()
        self._processes.kill_if_due(now)
        attach = self._attach
        if attach is not None and attach.awaited and now >= self._started + FIRST_CLIENT_S:
            attach.give_up_waiting()
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
                    self._take(channel, payload)
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
        if self._terminal is None:
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
        if lines and self._terminal is None:
            self._ring.write(self._journal.format(lines, wall=time.time(), now=time.monotonic()))
        del self._outputs[fd]
        if fd == self._stdin:
            self._stdin = None
        if fd == self._terminal:
            self._terminal = -1
        os.close(fd)

    def _take(self, channel: int, payload: bytes) -> None:
        if channel == frames.STDIN:
            self._typed += payload if payload or self._terminal is None else b"\x04"
            if not payload and self._terminal is None:
                self._end_stdin = True
            self._feed_stdin()
        elif channel == frames.RESIZE and len(payload) == 4 and (self._terminal or -1) >= 0:
            size = struct.pack("HHHH", *struct.unpack(">HH", payload), 0, 0)
            with suppress(OSError):
                fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, size)  # type: ignore[arg-type]
        elif channel == frames.SIGNAL:
            name = payload.decode("ascii", "replace").removeprefix("SIG")
            if name in _SIGNALS:
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
        if self._terminal is None:
            self._end_stdin = True
            self._feed_stdin()
        elif self._terminal >= 0:
            self._processes.signal(signal.SIGHUP)
            self._close_output(self._terminal)

    def _finish(self) -> None:
        status = self._processes.wait()
        try:
            self._drain()
        except Exception as error:
            self._fault(error)
        record = exit_record(status, self._wall_exceeded, self._group)
        os.write(self._exit_file, json.dumps(record).encode())
        if self._attach is not None:
            self._attach.put(frames.EXIT, json.dumps({"status": record["status"]}).encode())
            self._linger(self._attach)

    def _drain(self) -> None:
        """Pass on what was printed last."""
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


def exit_record(status: int, wall_exceeded: bool, group: Group) -> dict[str, Any]:
    """How a container ended, from the wait status of its main program. `status` is what a shell would say; `signal`
    what killed it, or what it says killed something below it, as shells do (128 more).
    """
    code = os.waitstatus_to_exitcode(status)
    shown = 128 - code if code < 0 else code
    number = shown - 128 if 128 < shown <= 128 + 64 else None
    stats = group.stats()
    return {
        "status": shown,
        "signal": number,
        "oom_kills": stats.oom_kills,
        "peak_memory_bytes": stats.peak_memory_bytes,
        "ended_at": time.time(),
        "wall_exceeded": wall_exceeded,
    }

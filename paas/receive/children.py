"""Confined children that read what a pusher sent: git itself and the exporter, each alone with one repository.

They are forked from a single-threaded process, confined before the first hostile byte, limited in time, memory and
output, and killed together with everything they started; the kernel kills them if this process dies.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from paas.receive import git
from paas.receive.wire import waiting
from runtime.kernel.confine import Bounds, confine
from runtime.kernel.forked import CRASHED, fork, log_lines, log_to

TICK_S = 1.0


@dataclass(frozen=True)
class Finished:
    """How a child ended: `status` as from os.waitstatus_to_exitcode."""

    status: int
    stdout: bytes
    stderr: bytes
    timed_out: bool = False

    @property
    def ok(self) -> bool:
        return self.status == 0 and not self.timed_out

    def last_words(self) -> str:
        """The last line of stderr, without git's `fatal:`."""
        lines = [line.strip() for line in self.stderr.decode("utf-8", "replace").splitlines()]
        last = next((line for line in reversed(lines) if line), "")
        return last.removeprefix("fatal: ").removeprefix("error: ")


def run(
    action: Sequence[str] | Callable[[], None],
    *,
    bounds: Bounds,
    timeout_s: float,
    stall_s: float = float("inf"),
    stdin: int | None = None,
    tick: Callable[[], None] = lambda: None,
    output_bytes: int = 1024 * 1024,
) -> Finished:
    """Run a program (argv) or a function in a confined child until it ends, calling `tick` about once a second.

    The child is killed after `timeout_s`, after `stall_s` without reading or computing, and before an exception (a
    hang-up, say) leaves this call.
    """
    child = _start(action, bounds, stdin)
    try:
        finished = _watch(child, _Deadline(child.pid, timeout_s, stall_s), tick, output_bytes)
    finally:
        child.dispose()
    if finished.status == CRASHED and callable(action):
        log_lines(finished.stderr.decode("utf-8", "replace").splitlines())
    return finished


class _Child:
    """A child and the pipes of its output."""

    def __init__(self, pid: int, stdout: int, stderr: int) -> None:
        self.pid = pid
        self.pipes = {stdout: bytearray(), stderr: bytearray()}
        self.stdout, self.stderr = stdout, stderr
        self.status: int | None = None

    def dispose(self) -> None:
        """Kill what is left of it and its process group, and reap it."""
        for descriptor in (self.stdout, self.stderr):
            os.close(descriptor)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


def _start(action: Sequence[str] | Callable[[], None], bounds: Bounds, stdin: int | None) -> _Child:
    (out_read, out_write), (err_read, err_write) = os.pipe(), os.pipe()
    parent = os.getpid()

    def child() -> None:
        os.setpgid(0, 0)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        source = os.open("/dev/null", os.O_RDONLY) if stdin is None else stdin
        for number, descriptor in enumerate((source, out_write, err_write)):
            os.dup2(descriptor, number)
        log_to(2)
        os.umask(0o027)
        confine(bounds, parent=parent)
        if callable(action):
            return action()
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execve(action[0], list(action), git.ENVIRONMENT)

    pid = fork("git child", child)
    os.close(out_write)
    os.close(err_write)
    return _Child(pid, out_read, err_read)


class _Deadline:
    """Whether a child has run for too long, or has made no progress for too long."""

    def __init__(self, pid: int, timeout_s: float, stall_s: float) -> None:
        self._pid = pid
        self._end = time.monotonic() + timeout_s
        self._stall_s = stall_s
        self._seen = ""
        self._progressed = time.monotonic()

    def is_over(self, now: float) -> bool:
        return now > self._end or now - self._progressed > self._stall_s

    def check_progress(self, now: float) -> None:
        """Compare bytes read and processor time (proc_pid_io(5), proc_pid_stat(5)); if they cannot be read, assume progress."""
        try:
            read = Path(f"/proc/{self._pid}/io").read_text().partition("\n")[0]
            fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            self._progressed = now
            return
        seen = f"{read} {fields[11]} {fields[12]}"
        if seen != self._seen:
            self._seen, self._progressed = seen, now


def _watch(child: _Child, deadline: _Deadline, tick: Callable[[], None], output_bytes: int) -> Finished:
    poller = select.poll()
    pidfd = os.pidfd_open(child.pid)
    try:
        for descriptor in (*child.pipes, pidfd):
            poller.register(descriptor, select.POLLIN)
        ended = timed_out = False
        ticked = time.monotonic()
        while not ended:
            with waiting():
                ready = poller.poll(TICK_S * 1000)
            for descriptor, _ in ready:
                if descriptor == pidfd:
                    ended = True
                elif not _drain(child, descriptor, output_bytes):
                    poller.unregister(descriptor)
            now = time.monotonic()
            if now - ticked >= TICK_S:
                ticked = now
                deadline.check_progress(now)
                tick()
            if deadline.is_over(now) and not ended:
                timed_out = ended = True
                os.killpg(child.pid, signal.SIGKILL)
        child.status = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
        for descriptor in child.pipes:
            os.set_blocking(descriptor, False)
            while _drain(child, descriptor, output_bytes):
                pass
    finally:
        os.close(pidfd)
    out, err = (bytes(child.pipes[descriptor]) for descriptor in (child.stdout, child.stderr))
    return Finished(child.status, out, err, timed_out)


def _drain(child: _Child, descriptor: int, output_bytes: int) -> bool:
    """Read once; False at the end. Output beyond the bound is dropped."""
    try:
        data = os.read(descriptor, 65536)
    except BlockingIOError:
        return False
    kept = child.pipes[descriptor]
    kept += data[: max(0, output_bytes - len(kept))]
    return bool(data)

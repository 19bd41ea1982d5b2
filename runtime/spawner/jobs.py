"""Slow or dangerous work in forked children: the spawner goes on serving, and answers when a child is done.

The function runs in the child and returns a JSON object; an exception becomes the error of the answer. The function
confines itself, since each needs different rights.
"""

from __future__ import annotations

import gc
import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.cgroup import enter
from runtime.frames import MAX_JSON_BYTES
from runtime.kernel import syscalls as sc
from runtime.kernel.files import write_all
from runtime.kernel.forked import fork, log_crash
from runtime.reactor import Reactor

Work = Callable[[], dict[str, Any]]
Done = Callable[[dict[str, Any]], None]
_LOW_PRIORITY = 10


@dataclass
class _Job:
    name: str
    pid: int
    pidfd: int
    pipe: int
    done: Done
    output: bytearray
    timed_out: bool = False


class Jobs:
    """The running children, each in the control groups of these `cgroup.procs` files."""

    def __init__(self, reactor: Reactor, groups: tuple[Path, ...] = ()) -> None:
        self._reactor = reactor
        self._groups = groups
        self._jobs: dict[int, _Job] = {}

    def start(
        self, name: str, work: Work, done: Done, *, timeout_s: float, keep: tuple[int, ...] = ()
    ) -> None:
        """Fork; `done` gets an answer in the spawner's protocol later. The child may use the descriptors `keep`."""
        reader, writer = os.pipe2(os.O_CLOEXEC)
        pid = fork(f"spawner's {name}", lambda: _in_child(name, work, writer, keep, self._groups))
        os.close(writer)
        job = _Job(name, pid, os.pidfd_open(pid), reader, done, bytearray())
        self._jobs[pid] = job
        self._reactor.watch(reader, lambda _: self._read(job))
        self._reactor.later(timeout_s, lambda: self._overdue(job))

    def _read(self, job: _Job) -> None:
        data = os.read(job.pipe, 65536)
        job.output += data
        if data and len(job.output) <= MAX_JSON_BYTES:
            return
        self._reactor.forget(job.pipe)
        os.close(job.pipe)
        signal.pidfd_send_signal(job.pidfd, signal.SIGKILL)
        _, status = os.waitpid(job.pid, 0)
        os.close(job.pidfd)
        del self._jobs[job.pid]
        job.done(_answer(job, status))

    def _overdue(self, job: _Job) -> None:
        if self._jobs.get(job.pid) is job:
            job.timed_out = True
            signal.pidfd_send_signal(job.pidfd, signal.SIGKILL)


def _answer(job: _Job, status: int) -> dict[str, Any]:
    if len(job.output) > MAX_JSON_BYTES:
        return failure("too_long", f"the answer of {job.name} is longer than {MAX_JSON_BYTES} bytes")
    try:
        answer: dict[str, Any] = json.loads(bytes(job.output))
        return answer
    except ValueError:
        pass
    if job.timed_out:
        return failure("timed_out", f"{job.name} took too long and was ended")
    code = os.waitstatus_to_exitcode(status)
    how = f"was killed by signal {-code}" if code < 0 else f"exited with status {code}"
    return failure("job_failed", f"{job.name} {how} before it had an answer")


def failure(code: str, message: str, hint: str = "") -> dict[str, Any]:
    """An answer of the protocol that reports an error."""
    return {"ok": False, "error": {"code": code, "message": message, "hint": hint}}


def _in_child(name: str, work: Work, pipe: int, keep: tuple[int, ...], groups: tuple[Path, ...]) -> None:
    gc.disable()
    os.setsid()
    sc.prctl(sc.PR_SET_PDEATHSIG, signal.SIGKILL)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    sc.close_all_except((pipe, *keep))
    os.setpriority(os.PRIO_PROCESS, 0, _LOW_PRIORITY)
    try:
        enter(groups)
        answer = {"ok": True, **work()}
    except Exception as error:
        code = getattr(error, "code", None)
        if code is None:
            log_crash(f"spawner's {name}")
        message = str(error) or type(error).__name__
        answer = failure(str(code or "job_failed"), message, str(getattr(error, "hint", "")))
    write_all(pipe, json.dumps(answer).encode())

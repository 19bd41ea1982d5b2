"""Keep daemons running: start, notice a death, start again, stop in order. Single-threaded, root, small."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

QUICK_DEATH_S = 2.0
FIRST_DELAY_S = 0.1
LAST_DELAY_S = 5.0
STOP_S = 10.0


@dataclass
class Daemon:
    """One supervised process. `launch` starts it and returns its process id; `ready` says when it serves."""

    name: str
    user: str
    listens: str
    launch: Callable[[], int]
    ready: Callable[[int], bool]
    pid: int = 0
    started_at: float = 0.0
    restarts: int = 0
    delay_s: float = 0.0
    next_start: float = 0.0
    state: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "pid": self.pid,
            "user": self.user,
            "listens": self.listens,
            "restarts": self.restarts,
            "started_at": self.started_at,
        }


class Supervisor:
    """Runs daemons until `stop` is asked for by SIGINT or SIGTERM. `say` prints a line for the operator."""

    def __init__(
        self, daemons: list[Daemon], status: Path, facts: dict[str, Any], say: Callable[[str], None]
    ) -> None:
        self.daemons = daemons
        self._status = status
        self._facts = facts
        self._say = say
        self._stopping = False
        self._wakeup = -1

    def start(self) -> None:
        """Catch signals and start every daemon."""
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wakeup = reader
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask_stop)
        for daemon in self.daemons:
            self._launch(daemon)
        self._write_status()

    def wait_ready(self, timeout_s: float) -> list[Daemon]:
        """Wait until every daemon serves; those that do not are returned."""
        deadline = time.monotonic() + timeout_s
        waiting = list(self.daemons)
        while waiting and time.monotonic() < deadline and not self._stopping:
            self._reap()
            self._restart_due()
            waiting = [daemon for daemon in waiting if not (daemon.pid and daemon.ready(daemon.pid))]
            if waiting:
                time.sleep(0.005)
        return waiting

    def run(self) -> None:
        """Supervise until asked to stop."""
        while not self._stopping:
            self._wait(self._until_next_start())
            self._reap()
            self._restart_due()

    def stop(self, names: tuple[str, ...], *, timeout_s: float = STOP_S) -> None:
        """Stop these daemons, SIGTERM first, SIGKILL after `timeout_s`. They are not started again."""
        leaving = [daemon for daemon in self.daemons if daemon.name.startswith(names)]
        self.daemons = [daemon for daemon in self.daemons if daemon not in leaving]
        _signal(leaving, signal.SIGTERM)
        deadline = time.monotonic() + timeout_s
        while any(daemon.pid for daemon in leaving) and time.monotonic() < deadline:
            self._wait(0.05)
            self._reap(leaving)
        _signal(leaving, signal.SIGKILL)
        for daemon in leaving:
            if daemon.pid:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(daemon.pid, 0)
                daemon.pid = 0
        self._write_status()

    def _ask_stop(self, *_: object) -> None:
        self._stopping = True

    def _launch(self, daemon: Daemon) -> None:
        daemon.pid = daemon.launch()
        daemon.started_at = time.time()
        daemon.state["monotonic"] = time.monotonic()

    def _wait(self, timeout_s: float | None) -> None:
        select.select([self._wakeup], [], [], timeout_s)
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wakeup, 4096):
                pass

    def _until_next_start(self) -> float | None:
        due = [daemon.next_start for daemon in self.daemons if not daemon.pid]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _reap(self, others: list[Daemon] | None = None) -> None:
        changed = False
        for daemon in self.daemons + (others or []):
            if not daemon.pid:
                continue
            try:
                pid, status = os.waitpid(daemon.pid, os.WNOHANG)
            except ChildProcessError:
                pid, status = daemon.pid, 0
            if pid:
                changed = True
                self._ended(daemon, status, expected=others is not None and daemon in others)
        if changed:
            self._write_status()

    def _ended(self, daemon: Daemon, status: int, *, expected: bool) -> None:
        lived = time.monotonic() - daemon.state["monotonic"]
        daemon.pid = 0
        if expected or self._stopping:
            return
        quick = lived < QUICK_DEATH_S
        daemon.delay_s = min(LAST_DELAY_S, max(FIRST_DELAY_S, daemon.delay_s * 2)) if quick else 0.0
        daemon.next_start = time.monotonic() + daemon.delay_s
        code = os.waitstatus_to_exitcode(status)
        how = f"signal {-code}" if code < 0 else f"status {code}"
        self._say(f"{daemon.name} ended ({how}) after {lived:.1f} s, starting it again")

    def _restart_due(self) -> None:
        now = time.monotonic()
        due = [daemon for daemon in self.daemons if not daemon.pid and daemon.next_start <= now]
        for daemon in due:
            daemon.restarts += 1
            self._launch(daemon)
        if due:
            self._write_status()

    def _write_status(self) -> None:
        facts = {**self._facts, "daemons": [daemon.to_json() for daemon in self.daemons]}
        fresh = self._status.with_name(self._status.name + ".new")
        fresh.write_text(json.dumps(facts))
        os.chmod(fresh, 0o644)
        os.replace(fresh, self._status)


def _signal(daemons: list[Daemon], number: signal.Signals) -> None:
    for daemon in daemons:
        if daemon.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(daemon.pid, number)

"""Keep daemons running: start, notice a death, start again, renew, stop in order. Single-threaded, root, small."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runtime.kernel import files
from runtime.kernel.poll import readable

QUICK_DEATH_S = 2.0
FIRST_DELAY_S = 0.1
LAST_DELAY_S = 5.0
STOP_S = 10.0
RENEW_S = 30.0


@dataclass(eq=False)
class Daemon:
    """One supervised process. `launch` starts it and returns its process id; `ready` is true once it serves. A `renewable`
    one can run beside its successor and drains on SIGTERM."""

    name: str
    user: str
    listens: str
    launch: Callable[[], int]
    ready: Callable[[int], bool]
    renewable: bool = False
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
    """Runs daemons until SIGINT or SIGTERM. SIGUSR1 replaces each renewable one by a successor, started from the present
    code; the old one leaves once the new one serves. `say` prints a line for the operator."""

    def __init__(
        self, daemons: list[Daemon], status: Path, facts: dict[str, Any], say: Callable[[str], None]
    ) -> None:
        self.daemons = daemons
        self._status = status
        self._facts = {"ready": False, **facts}
        self._say = say
        self._stopping = False
        self._wakeup = -1
        self._leaving: list[Daemon] = []
        """Replaced daemons that drain."""
        self._renewals_requested = 0
        self._renewal: dict[str, Any] = {"finished": 0, "failed": ""}
        """The number of the last finished renewal, and the daemon that could not be replaced in it."""

    def start(self) -> None:
        """Catch signals and start every daemon."""
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wakeup = reader
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask_stop)
        signal.signal(signal.SIGUSR1, self._ask_renewal)
        self._write_status()
        for daemon in self.daemons:
            self._launch(daemon)
        self._write_status()

    def wait_ready(self, say_s: float) -> bool:
        """Wait until every daemon serves, naming every `say_s` seconds those that do not; False when stopped before."""
        waiting, said_at = list(self.daemons), time.monotonic()
        while waiting and not self._stopping:
            self._reap()
            self._restart_due()
            waiting = [daemon for daemon in waiting if not (daemon.pid and daemon.ready(daemon.pid))]
            if waiting and time.monotonic() - said_at > say_s:
                self._say(f"not ready yet: {', '.join(daemon.name for daemon in waiting)}")
                said_at = time.monotonic()
            time.sleep(0.005 if waiting else 0)
        self._facts["ready"] = not waiting
        self._write_status()
        return not waiting

    def run(self) -> None:
        """Supervise until stopped."""
        while not self._stopping:
            self._wait(self._until_next_start())
            self._reap()
            self._restart_due()
            if self._renewal["finished"] < self._renewals_requested:
                self._renew()

    def stop(self, names: tuple[str, ...], *, timeout_s: float = STOP_S) -> None:
        """Stop these daemons, SIGTERM first, SIGKILL after `timeout_s`. They are not started again."""
        leaving = [daemon for daemon in self.daemons + self._leaving if daemon.name.startswith(names)]
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

    def _renew(self) -> None:
        """Replace the renewable daemons one by one; the first that cannot be replaced ends the renewal."""
        number, failed = self._renewals_requested, ""
        for daemon in [daemon for daemon in self.daemons if daemon.renewable]:
            if not self._replace(daemon):
                failed = daemon.name
                break
        self._renewal = {"finished": number, "failed": failed}
        self._write_status()

    def _replace(self, daemon: Daemon) -> bool:
        """Start a successor and stop the daemon once that serves; False if it does not come to serve."""
        successor = replace(daemon, pid=0, delay_s=0.0, state={}, restarts=daemon.restarts + 1)
        self._launch(successor)
        self._leaving.append(successor)
        deadline = time.monotonic() + RENEW_S
        while successor.pid and time.monotonic() < deadline and not self._stopping:
            if successor.ready(successor.pid):
                break
            self._wait(0.02)
            self._reap()
            self._restart_due()
        else:
            _signal([successor], signal.SIGKILL)
            self._say(f"{daemon.name} has no successor that serves and stays as it is")
            return False
        self._leaving.remove(successor)
        self._leaving.append(daemon)
        self.daemons[self.daemons.index(daemon)] = successor
        _signal([daemon], signal.SIGTERM)
        self._say(f"{daemon.name} pid {successor.pid} takes over from pid {daemon.pid}")
        self._write_status()
        return True

    def _ask_stop(self, *_: object) -> None:
        self._stopping = True

    def _ask_renewal(self, *_: object) -> None:
        self._renewals_requested += 1

    def _launch(self, daemon: Daemon) -> None:
        daemon.pid = daemon.launch()
        daemon.started_at = time.time()
        daemon.state["monotonic"] = time.monotonic()

    def _wait(self, timeout_s: float | None) -> None:
        readable(self._wakeup, timeout_s)
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wakeup, 4096):
                pass

    def _until_next_start(self) -> float | None:
        due = [daemon.next_start for daemon in self.daemons if not daemon.pid]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _reap(self, others: list[Daemon] | None = None) -> None:
        changed = False
        leaving = self._leaving + (others or [])
        for daemon in self.daemons + leaving:
            if not daemon.pid:
                continue
            try:
                pid, status = os.waitpid(daemon.pid, os.WNOHANG)
            except ChildProcessError:
                pid, status = daemon.pid, 0
            if pid:
                changed = True
                self._ended(daemon, status, expected=daemon in leaving)
        self._leaving = [daemon for daemon in self._leaving if daemon.pid]
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
        facts = {
            **self._facts,
            "daemons": [daemon.to_json() for daemon in self.daemons],
            "leaving": [daemon.to_json() for daemon in self._leaving],
            "renewal": self._renewal,
        }
        files.replace(self._status, json.dumps(facts), mode=0o644, durable=False)


def _signal(daemons: list[Daemon], number: signal.Signals) -> None:
    for daemon in daemons:
        if daemon.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(daemon.pid, number)

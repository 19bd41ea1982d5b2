"""The supervisor's own processes: started again when they die, renewed one after the other, stopped in order."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from paas.host import supervise
from paas.host.supervise import Daemon, Supervisor

SIGNALS = (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


def sleeper() -> int:
    return os.posix_spawn("/bin/sleep", ["sleep", "60"], {}, setsigdef=SIGNALS)


def stubborn() -> int:
    """Sleeps a second more when it is asked to end."""
    script = "trap 'sleep 1; exit 0' TERM; while :; do sleep 0.05; done"
    return os.posix_spawn("/bin/sh", ["sh", "-c", script], {"PATH": "/bin"}, setsigdef=SIGNALS)


class Run:
    """A supervisor in the main thread, as it must be, with another thread that acts on it."""

    def __init__(self, folder: Path, *daemons: Daemon) -> None:
        self.said: list[str] = []
        self.status_path = folder / "status.json"
        self.supervisor = Supervisor(list(daemons), self.status_path, {}, self.said.append)
        self.failed: list[BaseException] = []

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.status_path.read_text())
        return found

    def pids(self, key: str = "daemons") -> list[int]:
        return [item["pid"] for item in self.status()[key]]

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.01)

    def renew(self) -> None:
        finished = self.status()["renewal"]["finished"]
        os.kill(os.getpid(), signal.SIGUSR1)
        self.until(lambda: self.status()["renewal"]["finished"] > finished)

    def do(self, act: Callable[[], None]) -> None:
        """Run the supervisor while `act` runs."""

        def body() -> None:
            try:
                act()
            except BaseException as error:
                self.failed.append(error)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)

        self.supervisor.start()
        thread = threading.Thread(target=body)
        thread.start()
        self.supervisor.run()
        thread.join()
        self.supervisor.stop(("",))
        if self.failed:
            raise self.failed[0]


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def traps(pid: int) -> bool:
    """Whether it has a handler for SIGTERM by now."""
    caught = Path(f"/proc/{pid}/status").read_text().partition("SigCgt:")[2].split()[0]
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def test_what_is_renewable_is_replaced_and_the_rest_left_alone(tmp_path: Path) -> None:
    names = ["plain", "router.1", "router.2"]
    run = Run(
        tmp_path, *(Daemon(n, "u", "", sleeper, lambda pid: True, renewable=n != "plain") for n in names)
    )

    def act() -> None:
        before = run.pids()
        run.renew()
        after = run.pids()
        assert after[0] == before[0] and not set(after[1:]) & set(before[1:])
        run.until(lambda: not run.status()["leaving"])
        assert not any(map(alive, before[1:])) and all(map(alive, after))
        run.renew()
        assert not set(run.pids()[1:]) & set(after[1:])
        assert run.status()["renewal"]["failed"] == ""

    run.do(act)
    assert not any(map(alive, run.pids()))


def test_an_old_one_that_takes_its_time_is_not_waited_for_and_not_started_again(tmp_path: Path) -> None:
    run = Run(tmp_path, Daemon("router.1", "u", "", stubborn, lambda pid: True, renewable=True))

    def act() -> None:
        [old] = run.pids()
        run.until(lambda: traps(old))
        run.renew()
        assert run.pids("leaving") == [old] and alive(old)
        run.until(lambda: not run.pids("leaving"))
        assert len(run.pids()) == 1 and alive(run.pids()[0])

    run.do(act)


@pytest.mark.parametrize("how", ["never ready", "ends at once"])
def test_a_successor_that_does_not_serve_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(supervise, "RENEW_S", 0.5)
    started: list[int] = []

    def launch() -> int:
        ends = how == "ends at once" and bool(started)
        started.append(os.posix_spawn("/bin/false", ["false"], {}) if ends else sleeper())
        return started[-1]

    first, second = (
        Daemon(f"router.{n}", "u", "", launch, lambda pid: pid == started[0], renewable=True) for n in (1, 2)
    )
    run = Run(tmp_path, first) if how == "ends at once" else Run(tmp_path, first, second)

    def act() -> None:
        before = run.pids()
        run.renew()
        assert run.pids() == before and all(map(alive, before))
        assert run.status()["renewal"]["failed"] == "router.1"
        run.until(lambda: not any(alive(pid) for pid in started if pid not in before))

    run.do(act)
    assert any("stays as it is" in line for line in run.said)


def test_one_that_dies_while_its_successor_starts_is_started_again_and_let_go(tmp_path: Path) -> None:
    ready: set[int] = set()
    started: list[int] = []

    def launch() -> int:
        started.append(sleeper())
        return started[-1]

    run = Run(tmp_path, Daemon("router.1", "u", "", launch, lambda pid: pid in ready, renewable=True))

    def act() -> None:
        [old] = run.pids()
        os.kill(os.getpid(), signal.SIGUSR1)
        run.until(lambda: len(started) == 2)
        os.kill(old, signal.SIGKILL)
        run.until(lambda: run.pids() not in ([old], [0]))
        ready.update(started)
        run.until(lambda: run.status()["renewal"]["finished"])
        assert run.status()["renewal"]["failed"] == ""
        run.until(lambda: not run.pids("leaving"))
        assert len(run.pids()) == 1 and alive(run.pids()[0])

    run.do(act)


def test_ready_is_when_everything_serves_and_until_then_it_is_said_what_does_not(tmp_path: Path) -> None:
    asked: list[int] = []

    def late(pid: int) -> bool:
        asked.append(pid)
        assert run.status()["ready"] is False
        return len(asked) > 20

    run = Run(
        tmp_path, Daemon("early", "u", "", sleeper, lambda pid: True), Daemon("late", "u", "", sleeper, late)
    )
    run.supervisor.start()
    try:
        assert run.supervisor.wait_ready(0.0)
    finally:
        run.supervisor.stop(("",))
    assert len(asked) == 21 and run.status()["ready"] is True
    assert set(run.said) == {"not ready yet: late"}


def test_one_that_is_never_ready_does_not_keep_the_supervisor_from_being_stopped(tmp_path: Path) -> None:
    run = Run(
        tmp_path, Daemon("never", "u", "", sleeper, lambda pid: bool(os.kill(os.getpid(), signal.SIGTERM)))
    )
    run.supervisor.start()
    try:
        assert not run.supervisor.wait_ready(60.0)
    finally:
        run.supervisor.stop(("",))
    assert run.status()["ready"] is False

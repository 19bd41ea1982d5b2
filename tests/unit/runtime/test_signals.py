from __future__ import annotations

import os
import signal

import pytest

from runtime.signals import Seen, look, waiting_shells

TERM = signal.SIGTERM
HANDLED = 1 << (TERM - 1)


def process(pid: int, parent: int, name: str, caught: int = 0) -> Seen:
    return Seen(pid, parent, name, caught, 0)


def late(*processes: Seen, number: int = TERM) -> list[int]:
    return sorted(shell.pid for shell in waiting_shells(processes, number))


def test_a_shell_that_waits_comes_after_what_it_waits_for() -> None:
    assert late(process(2, 1, "bash"), process(3, 2, "gunicorn", HANDLED), process(4, 3, "gunicorn")) == [2]


def test_shells_in_shells_all_wait() -> None:
    assert late(process(2, 1, "bash"), process(3, 2, "sh"), process(4, 3, "node")) == [2, 3]


@pytest.mark.parametrize(
    ("name", "caught", "number"),
    [("bash", HANDLED, TERM), ("node", 0, TERM), ("bash", 0, signal.SIGKILL), ("bash", 0, signal.SIGUSR1)],
)
def test_everybody_else_gets_it_at_once(name: str, caught: int, number: int) -> None:
    assert late(process(2, 1, name, caught), process(3, 2, "app"), number=number) == []


def test_a_shell_without_children_gets_it_at_once() -> None:
    assert late(process(2, 1, "bash"), process(3, 1, "app")) == []


def test_a_process_is_seen_as_it_is() -> None:
    before = signal.signal(signal.SIGUSR2, lambda *_: None)
    try:
        me = look(os.getpid())
        assert me is not None
        assert me.parent == os.getppid() and me.handles(signal.SIGUSR2) and not me.handles(signal.SIGKILL)
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_one_that_has_ended_is_not_seen() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert look(pid) is None
    os.waitpid(pid, 0)
    assert look(pid) is None

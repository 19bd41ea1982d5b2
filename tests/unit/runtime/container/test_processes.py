"""Signals to a container's processes and when the end of one is the end of all, with processes in a real group."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from harness.engine import forked

from runtime.cgroup import Group
from runtime.container.processes import GRACE_S, SIGNALS, STOPPING, Processes
from runtime.kernel.poll import readable


def sleeper() -> int:
    """The pid of a child that sleeps until killed, by SIGTERM too: it has the handlers for that by now, and not those
    of this process, which may ignore them."""
    ready, tell = os.pipe()

    def wait() -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.write(tell, b".")
        while True:
            time.sleep(60)

    pid = forked(wait)
    assert os.read(ready, 1)
    os.close(ready)
    os.close(tell)
    return pid


@dataclass
class Container:
    """Pid 1, which the test plays the reports of, and another process beside it."""

    processes: Processes
    report: int
    other: int
    group: Group

    def ended(self, status: int) -> None:
        """Say that the main program has ended with this wait status."""
        os.write(self.report, status.to_bytes(4, sys.byteorder))
        self.processes.read_report()

    def runs(self) -> bool:
        return not readable(self.processes.pidfd, 0.2)

    def gone(self) -> bool:
        return readable(self.processes.pidfd, 30)


@pytest.fixture
def start(group: Group) -> Iterator[Callable[..., Container]]:
    made: list[Container] = []

    def build(wall_s: float | None = None) -> Container:
        pid, other = sleeper(), sleeper()
        for one in (pid, other):
            group.join(one)
        reading, writing = os.pipe()
        processes = Processes(group, pid, os.pidfd_open(pid), reading, wall_s)
        made.append(Container(processes, writing, other, group))
        return made[-1]

    yield build
    group.kill()
    for container in made:
        os.waitpid(container.other, 0)
        for fd in (container.processes.pidfd, container.processes.report, container.report):
            os.close(fd)


def test_the_end_of_the_main_program_ends_the_others(start: Callable[..., Container]) -> None:
    container = start()
    container.ended(3 << 8)
    assert container.gone()
    record = container.processes.exit()
    assert (record.status, record.signal, record.wall_exceeded) == (3, None, False)


def test_while_it_is_being_stopped_the_others_may_finish(start: Callable[..., Container]) -> None:
    container = start()
    os.kill(os.getpid(), STOPPING)
    container.ended(0)
    assert container.runs() and container.processes.deadlines() == []
    container.processes.kill()
    assert container.gone()
    assert container.processes.exit().status == 0, "it is the main program's end that counts"


def test_without_a_report_the_end_of_pid_1_counts(start: Callable[..., Container]) -> None:
    container = start()
    container.processes.kill()
    assert container.gone()
    record = container.processes.exit()
    assert (record.status, record.signal) == (128 + signal.SIGKILL, signal.SIGKILL)


def test_a_report_without_content_is_no_end(start: Callable[..., Container]) -> None:
    container = start()
    os.close(container.report)
    container.processes.read_report()
    container.report = os.open("/dev/null", os.O_WRONLY)
    assert container.runs()
    container.processes.kill()
    assert container.gone() and container.processes.exit().signal == signal.SIGKILL


def test_the_limit_on_wall_time_kills_and_is_recorded(start: Callable[..., Container]) -> None:
    container = start(wall_s=1000)
    (due,) = container.processes.deadlines()
    container.processes.kill_if_due(due - 1)
    assert container.runs()
    container.processes.kill_if_due(due)
    assert container.gone() and container.processes.deadlines() == []
    assert container.processes.exit().wall_exceeded


def test_an_interrupt_reaches_all_but_pid_1_and_the_rest_has_a_grace_after_the_main_program(
    start: Callable[..., Container],
) -> None:
    container = start()
    container.processes.signal(signal.SIGINT)
    assert os.waitstatus_to_exitcode(os.waitpid(container.other, 0)[1]) == -signal.SIGINT
    container.other = sleeper()
    assert container.runs() and container.processes.deadlines() == [], "the main program has not ended yet"
    before = time.monotonic()
    container.ended(130 << 8)
    (due,) = container.processes.deadlines()
    assert before + GRACE_S <= due <= time.monotonic() + GRACE_S
    container.processes.kill_if_due(due - 1)
    assert container.runs()
    container.processes.kill_if_due(due)
    assert container.gone() and container.processes.deadlines() == []
    record = container.processes.exit()
    assert (record.status, record.signal, record.wall_exceeded) == (130, signal.SIGINT, False)
    os.kill(container.other, signal.SIGKILL)


def test_a_signal_that_ends_nothing_reaches_pid_1_alone(start: Callable[..., Container]) -> None:
    container = start()
    container.processes.signal(signal.SIGUSR1)
    assert container.gone()
    assert container.processes.exit().signal == signal.SIGUSR1
    assert os.waitpid(container.other, os.WNOHANG) == (0, 0)


def test_signalling_what_has_ended_is_no_error(start: Callable[..., Container]) -> None:
    container = start()
    container.processes.kill()
    assert container.gone()
    container.processes.kill()
    container.processes.signal(signal.SIGUSR1)
    container.processes.exit()


def test_every_signal_that_a_client_may_name_exists() -> None:
    assert {f"SIG{name}" for name in SIGNALS} <= {number.name for number in signal.Signals}

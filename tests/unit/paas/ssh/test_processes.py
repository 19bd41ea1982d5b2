"""The accept loop's list of processes: logins arrive by a pipe, and a process that ended leaves nothing behind."""

from __future__ import annotations

import os
import select

import pytest

from paas.ssh.processes import LoggedIn, Processes


@pytest.fixture
def poller() -> select.poll:
    return select.poll()


@pytest.fixture
def processes(poller: select.poll) -> Processes:
    return Processes(poller)


def add(processes: Processes, pid: int, name: bytes) -> int:
    """A process that has reported this name and closed its pipe."""
    read, write = os.pipe()
    os.write(write, name)
    os.close(write)
    processes.add(pid, read)
    return read


def test_a_login_is_read_once_and_counted(poller: select.poll, processes: Processes) -> None:
    pipe = add(processes, 7, b"ann")
    assert [ready for ready, _ in poller.poll(0)] == [pipe]
    assert processes.read_login(pipe) == LoggedIn(7, "ann")
    assert poller.poll(0) == [] and (processes.count("ann"), processes.count("bob")) == (1, 0)
    processes.read_login(add(processes, 8, b"ann"))
    assert processes.count("ann") == 2
    processes.remove(7)
    assert (processes.count("ann"), len(processes)) == (1, 1)
    with pytest.raises(OSError):
        os.fstat(pipe)
    processes.remove(8)


def test_a_process_that_ends_before_its_login(poller: select.poll, processes: Processes) -> None:
    pipe = add(processes, 7, b"")
    assert processes.read_login(pipe) is None and poller.poll(0) == []
    processes.remove(7)
    assert processes.read_login(pipe) is None, "reaped in the turn in which its pipe became readable"
    processes.remove(7)
    assert len(processes) == 0
